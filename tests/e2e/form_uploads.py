"""Uploads in every spelling that a client or an attacker may choose, drawn at random from a seed."""

import dataclasses
import random


@dataclasses.dataclass
class Upload:
    """The body of an upload and its content-type."""

    content_type: bytes
    body: bytes
    is_plain: bool
    """Whether it is what clients send, so that it must pass."""


NAMES = ["model", "file", "models", "mode", "MODEL", "mo\\del", "x", ""]
VALUES = [b"a", b"b", b"a", b"b", b"", b"\xff", b"c", b"a\r\n", b" a", b"a\n--x", b"a\r\n--x"]
FILE_NAMES = [
    "a.wav",
    "take 1; name=model",
    "a\\\\b",
    '\\"; name=model',
    "\u00e9.wav",
    "model",
    'a"; name="model',
    "C:\\a.wav",
    "name=model",
]
SEPARATORS = [";", " ; ", ";\t", ";;", ";\r\n ", ";\x0b", ";\u00a0", ";\u0085", ";\x1c"]
HEADER_NAMES = ["content-disposition", "Content-Disposition ", " Content-Disposition", "Content-Type", "X"]
LINE_ENDS = [b"\n", b"\r", b"\r\n\r\n", b" \r\n", b"\t\r\n", b"x\r\n", b"--\r\n", b"-\r\n"]
CONTENT_TYPES = [
    "multipart/form-data; boundary={}",
    'multipart/form-data; boundary="{}"',
    "Multipart/Form-Data;BOUNDARY={}",
    "multipart/form-data ;boundary = {} ;charset=utf-8",
    "multipart/form-data; boundary={}; charset=utf-7",
    "multipart/form-data; boundary={}; charset=utf-16",
    "multipart/form-data; boundary={}; charset=latin-1",
    "multipart/form-data; boundary=y; boundary={}",
    "multipart/form-data; boundary={}; boundary=y",
    "multipart/form-data; boundary*=utf-8''{}",
    "multipart/form-data; boundary=y; boundary*=utf-8''{}",
    'multipart/form-data; boundary="{}',
    'multipart/form-data; boundary="\\{}"',
    'multipart/form-data; a="; boundary=y"; boundary={}',
    "multipart/form-data; a=b; c; boundary={}",
    "multipart/form-data;\u00a0boundary={}",
    "multipart/form-data; boundary={}\u0085",
    "multipart/form-data",
    "multipart/mixed; boundary={}",
    "application/x-www-form-urlencoded; boundary={}",
]
BOUNDARIES = ["x", "x", "----WebKitFormBoundaryX", "xx", "a b", "x'()+_,-./:=?"]


def seldom(draw: random.Random, plain, odd: list):
    """The plain choice nine times of ten, else an odd one."""
    return draw.choice(odd) if draw.random() < 0.1 else plain


def parameter(draw: random.Random, name: str, value: str) -> str:
    """One parameter of a header, in one of its spellings."""
    bare = value.replace('"', "")
    odd = [
        f"{name}={bare}",
        f'{name} = "{value}"',
        f"{name.upper()}={bare}",
        f"{name}*=utf-8''{bare}",
        f"{name}*0={bare[:2]}; {name}*1={bare[2:]}",
    ]
    odd += [
        f'{name}="{value}',
        f"{name}='{value}'",
        f'{name}="{value}" x',
        f'x{name}="{value}"',
        f'{name}="{value}"; {name}="{draw.choice(NAMES)}"',
    ]
    return seldom(draw, f'{name}="{value}"', odd)


def head(draw: random.Random, name: str) -> bytes:
    """The head of a part of this name, without the blank line."""
    parameters = [parameter(draw, "name", name)]
    if name != "model" and draw.random() < 0.4:
        parameters.insert(draw.randrange(2), parameter(draw, "filename", draw.choice(FILE_NAMES)))
    if draw.random() < 0.05:
        parameters.insert(
            draw.randrange(len(parameters) + 1), draw.choice(["a", "a=b", '"', "=model", "name", "filename*=utf-8''a"])
        )
    separator = seldom(draw, "; ", SEPARATORS)
    line = f"{seldom(draw, 'Content-Disposition', HEADER_NAMES)}: form-data{separator}{separator.join(parameters)}"
    lines = [line] + [draw.choice(["Content-Type: text/plain", "X: \u00e9", "no colon", "X: name=model", ": empty"])] * (
        draw.random() < 0.1
    )
    if draw.random() < 0.05:
        lines.append(f'Content-Disposition: form-data; name="{draw.choice(NAMES)}"')
    draw.shuffle(lines)
    return "\r\n".join(lines).encode(seldom(draw, "utf-8", ["latin-1"]), "replace")


def odd_upload(draw: random.Random) -> Upload:
    """An upload in which anything may be odd."""
    boundary = draw.choice(BOUNDARIES)
    delimiter = b"--" + boundary.encode()
    body = seldom(draw, b"", [b"\r\n", b"\n\r\n", b"preamble\r\n", b"\r\njunk", b"\r\n-", b"\r"])
    names = ["model", *draw.choices(NAMES, k=draw.randrange(3))]
    draw.shuffle(names)
    for name in names:
        blank = seldom(draw, b"\r\n\r\n", [b"\n\n", b"\r\n", b"\r\n \r\n"])
        value = draw.choice([b"a", b"b"]) if name == "model" else draw.choice(VALUES)
        end = seldom(draw, b"\r\n", [b"\n", b"", b"\r"])
        body += delimiter + seldom(draw, b"\r\n", LINE_ENDS) + head(draw, name) + blank + seldom(draw, value, VALUES) + end
    body += delimiter + seldom(draw, b"--\r\n", [b"--", b"", b"\r\n", b"--x", b"--\r\nepilogue"])
    if draw.random() < 0.05:
        body += b"\r\n" + delimiter + b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nb\r\n' + delimiter + b"--\r\n"
    if draw.random() < 0.05:
        body = body[: draw.randrange(len(body))]
    content_type = seldom(draw, CONTENT_TYPES[0], CONTENT_TYPES).format(boundary)
    return Upload(content_type.encode("latin-1"), body, is_plain=False)


def plain_upload(draw: random.Random) -> Upload:
    """An upload as browsers and HTTP clients write it."""
    boundary = draw.choice(["x", "----WebKitFormBoundaryX", "a-b'c"])
    fields = [
        f'name="file"; filename="{draw.choice(["a.wav", "take 1; name=model", "é.wav", "model", "name=model"])}"',
        'name="model"',
    ]
    fields += draw.sample(['name="language"', 'name="prompt"', 'name="models"'], draw.randrange(3))
    draw.shuffle(fields)
    body = b""
    for field in fields:
        value = draw.choice([b"a", b"b"]) if field == 'name="model"' else draw.choice([b"", b"a\r\nb", b"\x00\xff\n--y"])
        more = draw.choice([b"", b"\r\nContent-Type: audio/wav"])
        body += b"--%s\r\nContent-Disposition: form-data; %s%s\r\n\r\n%s\r\n" % (boundary.encode(), field.encode(), more, value)
    body += b"--%s--\r\n" % boundary.encode()
    content_type = draw.choice(
        [
            "multipart/form-data; boundary={}",
            'multipart/form-data; boundary="{}"',
            "multipart/form-data; charset=utf-8; boundary={}",
        ]
    )
    return Upload(content_type.format(boundary).encode(), body, is_plain=True)


def uploads(count: int, seed: int):
    """So many uploads, a quarter of them plain."""
    draw = random.Random(seed)
    for index in range(count):
        yield plain_upload(draw) if index % 4 == 0 else odd_upload(draw)
