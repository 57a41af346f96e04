#!/usr/bin/env python3
"""Builds a stub for every CUDA library that PyPI's torch links to and that is not installed.

    cuda_stubs.py TORCH_LIB_DIR

Every function in them answers 100, CUDA's "no device". Symbol versions are kept: the dynamic loader aborts on a library
that lacks a version it was linked with. Needs `cc`, `nm` and `readelf`.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

CUDA_LIBRARY = re.compile(r"lib(cu|nv|nccl)")
CUDA_SYMBOL = re.compile(
    r"_{0,2}(cuda|cu[A-Z]|cudnn|cublas|cufft|curand|cusparse|cusolver|cufile|nccl|nvrtc|nvshmem|cupti|nvtx)|_Z.*nvshmem"
)
# Where a symbol without a version is put; any loaded library would do.
RUNTIME = "libcudart.so.13"


def output_of(*command: object) -> str:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout


def needed_libraries(library: pathlib.Path) -> set[str]:
    return set(re.findall(r"NEEDED.*\[(.*?)\]", output_of("readelf", "-dW", library)))


def version_owners(library: pathlib.Path) -> dict[str, str]:
    """Symbol version -> the library that has to define it."""
    owners, owner = {}, None
    for line in output_of("readelf", "-VW", library).splitlines():
        if file := re.search(r"File: (\S+)", line):
            owner = file[1]
        elif (version := re.search(r"Name: (\S+)\s+Flags", line)) and owner:
            owners[version[1]] = owner
    return owners


def dynamic_symbols(library: pathlib.Path) -> tuple[dict[str, str], set[str]]:
    """The symbols it wants from others, with their versions, and those that it has."""
    wanted, defined = {}, set()
    for line in output_of("nm", "-D", library).splitlines():
        *_, kind, symbol = line.split()
        name, _, version = symbol.partition("@")
        if kind == "U":
            wanted[name] = version.lstrip("@")
        elif kind not in "wv":  # weak and undefined: may stay so
            defined.add(name)
    return wanted, defined


def build_stub(target: pathlib.Path, versions: dict[str, list[str]]) -> None:
    """One shared library with the symbols of each version."""
    source = ["static char handle[65536];"]
    for symbol in (symbol for symbols in versions.values() for symbol in symbols):
        # This one runs when torch is loaded, and its result is written to.
        registers = symbol == "__cudaRegisterFatBinary"
        source.append(f"void *{symbol}() {{ return handle; }}" if registers else f"long {symbol}() {{ return 100; }}")
    script = [f"{version} {{ global: {' '.join(s + ';' for s in symbols)} }};" for version, symbols in versions.items() if version]
    with tempfile.TemporaryDirectory() as scratch:
        code, version_map = pathlib.Path(scratch, "stub.c"), pathlib.Path(scratch, "versions.map")
        code.write_text("\n".join(source) + "\n")
        version_map.write_text("\n".join(script) + "\n")
        command = ["cc", "-w", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{target.name}", "-o", target, code]
        if script:
            command.append(f"-Wl,--version-script={version_map}")
        subprocess.run(command, check=True)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    libraries = [path for path in folder.iterdir() if ".so" in path.name]
    needed, owners, wanted, defined = set(), {}, {}, set()
    for library in libraries:
        needed |= needed_libraries(library)
        owners |= version_owners(library)
        wants, has = dynamic_symbols(library)
        wanted |= wants
        defined |= has
    missing = sorted(needed - {library.name for library in libraries})
    stubs = {name: collections.defaultdict(list) for name in missing if CUDA_LIBRARY.match(name)}
    for symbol, version in wanted.items():
        if symbol not in defined and CUDA_SYMBOL.match(symbol):
            owner = owners.get(version)
            stubs[owner if owner in stubs else RUNTIME][version].append(symbol)
    for name, versions in stubs.items():
        build_stub(folder / name, versions)
    print(len(stubs), "stub libraries,", sum(len(s) for versions in stubs.values() for s in versions.values()), "symbols")


if __name__ == "__main__":
    main()
