"""Files that were made to do harm, or have come to: each drawn from a seed, with its command line.

What a file holds is wrong in its bytes (cut, flipped, repeated), in its numbers (beyond any size),
in its types, or in what it asks for: to be run, to be waited for, to become huge.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pickle
import pickletools
import random
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save

from resnet_probe import models

NET = ["--arch", "resnet:depth=8,width=4"]
DIGITS = ["--data", "digits", "--normalize", "none", "--limit", "8"]
RUN = ["lesion", *NET, "--weights", "initial:0", *DIGITS, "--out", "run"]
HUGE = (0, -1, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**64, 10**30)
VALUES = (
    None, True, -1, 0, 2**70, 10**400, 1.5, float("nan"), float("inf"), "", "x" * 5000, "\x00",
    "../../x", "/dev/zero", [], {}, [[]], [None], {"a": {"b": []}}, "1e999", "resnet20", [1, "a"],
)  # fmt: skip
DEEP = 3000


def drawn(seed: int, folder: Path) -> list[str]:
    """Makes the files of a seed in a folder; the command line that reads them, from there."""
    pick = random.Random(f"file {seed}")
    make = KINDS[seed % len(KINDS)]
    line = make(pick, folder)
    if make is not archive and pick.random() < 0.1:  # where no archive is, it is fetched
        special(pick, pick.choice([each for each in folder.rglob("*") if each.is_file()]))
    return line


# ---- any file


def damaged(pick: random.Random, content: bytes) -> bytes:
    """The same bytes, cut, flipped, repeated, left out, or with a huge number somewhere."""
    at = pick.randrange(len(content) + 1)
    length = pick.choice([1, 4, 8, 64, 1024])
    number = pick.choice([b"\xff" * 4, b"\xff\xff\xff\x7f", bytes(4), b"\x00\x00\x00\x80"])
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: content[:at],
        lambda: content[:at] + pick.randbytes(length) + content[at + length :],
        lambda: content[:at] + content[at + length :],
        lambda: content[:at] + content[max(0, at - length) :],
        lambda: content[:at] + number + content[at + 4 :],
        lambda: content + pick.randbytes(length),
        lambda: pick.randbytes(len(content)),
        lambda: b"",
    )
    return pick.choice(ways)()


def perhaps(pick: random.Random, content: bytes, share: float = 0.3) -> bytes:
    return damaged(pick, content) if pick.random() < share else content


def special(pick: random.Random, path: Path) -> None:
    """Puts something in a file's place that is none."""
    path.unlink()
    kind = pick.choice(["pipe", "zero", "random", "folder", "broken", "loop"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        targets = {"zero": "/dev/zero", "random": "/dev/urandom", "broken": "none", "loop": path}
        path.symlink_to(targets[kind])


class Asks:
    """Pickled, it asks for a call."""

    def __init__(self, call, *given):
        self.call, self.given = call, given

    def __reduce__(self):
        return self.call, self.given


def asking(pick: random.Random) -> Asks:
    calls = (
        (os.system, "touch started"), (exec, "open('started', 'w')"), (eval, "1"),
        (subprocess.Popen, ["touch", "started"]), (open, "started", "w"), (os.mkdir, "started"),
        (bytearray, 2**36), (range, 2**70), (getattr, 1, "real"), (torch.zeros, 2**36),
        (functools.partial, print), (torch.load, "w.pt"), (torch.hub.load, "a/b", "c"),
    )  # fmt: skip
    return Asks(*pick.choice(calls))


def json_text(pick: random.Random, found: object) -> str:
    """JSON of `found` with some entries of another type, or no JSON at all."""
    if pick.random() < 0.15:
        return pick.choice(["[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "", "nul",
                            "9" * 5000, '"', "[1e999]", "\ufeff{}", "{}", "null"])  # fmt: skip
    return json.dumps(changed(pick, found, pick.randint(1, 3)))


def changed(pick: random.Random, found, times: int):
    """A copy in which some entries, however deep, are others, gone, or beside new ones."""
    if times == 0:
        return found
    if isinstance(found, dict) and found and pick.random() < 0.9:
        key = pick.choice(list(found))
        rest = {**found, key: changed(pick, found[key], 1)}
        if pick.random() < 0.2:
            del rest[key]
        return changed(pick, rest, times - 1)
    if isinstance(found, list) and found and pick.random() < 0.5:
        place = pick.randrange(len(found))
        return [*found[:place], changed(pick, found[place], 1), *found[place + 1 :]]
    return pick.choice(VALUES)


# ---- weights and cards


@functools.cache
def state() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        return models.architecture(NET[1]).build(10, seed=0).state_dict()


def unfit(pick: random.Random, w: torch.Tensor):
    """Something in the place of a tensor."""
    float8 = getattr(torch, "float8_e4m3fn", torch.int8)
    ways: tuple[Callable[[], object], ...] = (
        lambda: w * float("nan"), lambda: w.to("meta"), lambda: w.to_sparse(), lambda: w[..., None],
        lambda: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), lambda: w.to(float8), lambda: 3,
        lambda: w.to(torch.complex64), lambda: w.to(torch.int8), lambda: w.bool(), lambda: "w",
        lambda: torch.zeros(1).expand(2**31, 2**30), lambda: w.double() * 1e300, lambda: w.half(),
        lambda: torch.zeros(0), lambda: asking(pick), lambda: torch.nn.Parameter(w), lambda: None,
        lambda: torch.nested.nested_tensor([w.flatten(), w.flatten()[:2]]), lambda: [w], dict,
    )  # fmt: skip
    return pick.choice(ways)()


def weights(pick: random.Random, folder: Path) -> list[str]:
    """A file of `torch.save`, old or new."""
    content: object = dict(state())
    if pick.random() < 0.6:
        key = pick.choice(list(state()))
        content[key] = unfit(pick, state()[key].float())
    wraps: tuple[Callable[[], object], ...] = (
        lambda: content, lambda: {"state_dict": content}, lambda: {"model": content, "e": 2**70},
        lambda: [content], lambda: {"a": content, "b": content}, lambda: {**content, 3: 4},
        lambda: {f"module.{key}": value for key, value in content.items()}, lambda: itself(content),
        lambda: {"state_dict": content, "args": asking(pick)}, lambda: nested(content), dict,
    )  # fmt: skip
    kept = io.BytesIO()
    zipped = pick.random() < 0.7
    torch.save(pick.choice(wraps)(), kept, _use_new_zipfile_serialization=zipped)
    found = kept.getvalue()
    if pick.random() < 0.5:
        found = rezipped(pick, found) if zipped else damaged(pick, found)
    name = f"w.{pick.choice(['pt', 'pth', 'ckpt', 'safetensors', 'bin'])}"
    (folder / name).write_bytes(perhaps(pick, found, 0.1))
    return ["lesion", *NET, "--weights", name, *DIGITS, "--out", "run"]


def itself(content: dict) -> dict:
    found = dict(content)
    found["state_dict"] = found
    return found


def nested(content: dict) -> object:
    for _ in range(200):
        content = {"state_dict": content}
    return content


def rezipped(pick: random.Random, found: bytes) -> bytes:
    """An archive with one member damaged, gone, named otherwise, or of numbers that are others."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(found)) as old, zipfile.ZipFile(kept, "w") as new:
        names = old.namelist()
        chosen = pick.choice([names[0], pick.choice(names)])
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = numbers_changed(pick, content) if name.endswith(".pkl") else content
                content = perhaps(pick, content, 0.4)
                name = pick.choice([name, name, name, f"../{name}", "x"])
            new.writestr(name, content, pick.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    return kept.getvalue()


def numbers_changed(pick: random.Random, content: bytes) -> bytes:
    """A pickle with one of its whole numbers, such as a size, a stride or an offset, another."""
    places = [(at, op.name) for op, _, at in pickletools.genops(content)]
    ends = [at for at, _ in places[1:]] + [len(content)]
    found = [(at, end) for (at, name), end in zip(places, ends, strict=True) if "BININT" in name]
    if not found:
        return content
    at, end = pick.choice(found)
    return content[:at] + pickle.dumps(pick.choice(HUGE), 2)[2:-1] + content[end:]


def safetensors(pick: random.Random, folder: Path) -> list[str]:
    """A file of safetensors with a card beside it, one of the two or both wrong."""
    content = save(state())
    size = struct.unpack("<Q", content[:8])[0]
    if pick.random() < 0.6:
        head = json_text(pick, json.loads(content[8 : 8 + size])).encode()
        size = pick.choice([len(head), len(head), len(head), *HUGE[:7]]) % 2**64
        content = struct.pack("<Q", size) + head + content[8 + len(head) :]
    (folder / "w.safetensors").write_bytes(perhaps(pick, content))
    card = {
        "arch": "resnet:depth=8,width=4", "data": "digits", "normalize": "none", "classes": 10,
        "command": "", "seed": 0, "epochs": 1, "correct": 1, "images": 8, "seconds": 1.0,
        "versions": {"torch": "2"}, "resolution": [8, 16], "history": {"loss": [1.0]},
        "weights_sha256": "0" * 64, "also": [{"name": "a", "note": "", "correct": 1, "images": 2,
                                              "data_sha256": ""}],
    }  # fmt: skip
    text = json_text(pick, card).encode() if pick.random() < 0.7 else json.dumps(card).encode()
    (folder / "w.json").write_bytes(perhaps(pick, text, 0.1))
    if pick.random() < 0.2:
        return ["zoo", "add", "w.json", "--name", "mine", "--to", "there"]
    return ["lesion", *NET, "--weights", "w.safetensors", *DIGITS[:2], "--limit", "8",
            "--out", "run"]  # fmt: skip


# ---- images


FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "EPS", "ICO", "TGA", "PCX", "PDF",
           "JPEG2000", "SGI", "IM", "MSP")  # fmt: skip


def image(pick: random.Random, format: str | None = None) -> bytes:
    format = format or pick.choice(FORMATS)
    modes = {"MSP": "1", "EPS": "RGB", "PDF": "RGB", "JPEG": "RGB"}
    mode = modes.get(format) or pick.choice(["RGB", "RGB", "L", "P", "RGBA", "I;16", "1", "CMYK"])
    kept = io.BytesIO()
    try:
        Image.new(mode, (16, 16)).save(kept, format)
    except (OSError, ValueError, KeyError):
        Image.new("RGB", (16, 16)).save(kept, "PNG")
    return kept.getvalue()


def hostile_image(pick: random.Random) -> bytes:
    others: tuple[Callable[[], bytes], ...] = (
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", lambda: b"#!/bin/sh\ntouch started\n",
        lambda: b"P6 99999 99999 255\n", lambda: b"P5 " + b"9" * 500, lambda: b"P3 4 4 255\n" * 9,
        lambda: b"BM" + pick.randbytes(52), lambda: b"II*\0\x08\0\0\0" + pick.randbytes(200),
        lambda: frames(), lambda: promising(pick), lambda: b"\0\0\1\0" + pick.randbytes(60),
        lambda: b"\xff\xd8\xff" + pick.randbytes(500), lambda: b"RIFF\xff\xff\xff\xffWEBPVP8X" * 3,
    )  # fmt: skip
    return pick.choice(others)() if pick.random() < 0.4 else perhaps(pick, image(pick), 0.7)


def promising(pick: random.Random) -> bytes:
    """A small file that says it is a large image."""
    found = bytearray(image(pick, "PNG"))
    found[16:24] = struct.pack(">II", *(pick.choice([1, 9000, 2**16, 2**31 - 1]) for _ in "wh"))
    return bytes(found)


@functools.cache
def frames() -> bytes:
    kept = io.BytesIO()
    one = Image.new("L", (16, 16))
    one.save(kept, "GIF", save_all=True, append_images=[one] * 500)
    return kept.getvalue()


def folder_of_images(pick: random.Random, folder: Path) -> list[str]:
    for label in range(pick.choice([1, 3, 10])):
        (folder / "val" / f"c{label}").mkdir(parents=True)
        for place in range(2):
            wrong = pick.random() < 0.2 or label == place == 0
            suffix = pick.choice(["png", "png", "jpg", "tiff", "gif", "eps"])
            content = hostile_image(pick) if wrong else image(pick, "PNG")
            (folder / "val" / f"c{label}" / f"{place}.{suffix}").write_bytes(content)
    more = pick.choice([[], [], ["--preprocess", "resize=8,crop=8"], ["--stream"]])
    return on(["imagefolder:val", *more, "--workers", "0"])


def on(data: list[str]) -> list[str]:
    return ["lesion", *NET, "--weights", "initial:0", "--data", *data, "--normalize", "none",
            "--input", "3x16x16", "--limit", "8", "--out", "run"]  # fmt: skip


def listed(pick: random.Random, folder: Path) -> list[str]:
    """A list of images and their classes."""
    (folder / "a.png").write_bytes(image(pick, "PNG"))
    cells = ("a.png", "./a.png", "../a.png", "/dev/zero", "/dev/stdin", "", "0", "1", "-1", "cat",
             "9" * 30, '"', "a" * 300, "\x00", ".", "1e9", "999999", "x\ty", "\ufeff")  # fmt: skip
    lines = [",".join(pick.choice(cells) for _ in range(pick.choice([1, 2, 2, 3])))
             if pick.random() < 0.3 else "a.png,1" for _ in range(8)]  # fmt: skip
    text = "\n".join(["path,label", *lines]) + pick.choice(["", "," * 100_000, '"' * 70_001])
    (folder / "list.csv").write_bytes(perhaps(pick, text.encode()))
    return on(["csv:list.csv", "--workers", "0"])


def class_map(pick: random.Random, folder: Path) -> list[str]:
    for label in "abc":
        (folder / "val" / label).mkdir(parents=True)
        (folder / "val" / label / "0.png").write_bytes(image(pick, "PNG"))
    name = pick.choice(["m.csv", "m.json", "m.txt"])
    found = pick.choice([{"a": 0, "b": 1, "c": 2}, {"0": "a", "1": ["b", "c"]}, ["a", "b", "c"]])
    lines = [pick.choice(["a,0", "b 1", "c;2", "a" + "," * 10_000 + "x", "b," + "9" * 50, "",
                          " " * 10_000 + "1", "c,-1", "n01440764 a, b, c", "c,2,"])
             for _ in range(pick.randint(1, 5))]  # fmt: skip
    text = json_text(pick, found) if name.endswith("json") else "\n".join(lines)
    content = text.encode(errors="surrogatepass")
    (folder / name).write_bytes(perhaps(pick, content, 0.2))
    return on(["imagefolder:val", "--class-map", name, "--workers", "0"])


# ---- tables and archives of images


def parquet(pick: random.Random, folder: Path) -> list[str]:
    n = 8
    pictures = [hostile_image(pick) if pick.random() < 0.05 else image(pick, "PNG")
                for _ in range(n)]  # fmt: skip
    columns: tuple[Callable[[], pa.Array], ...] = (
        lambda: pa.array(range(n)), lambda: pa.array([pick.choice(HUGE[:7]) for _ in range(n)]),
        lambda: pa.array([2**64 - 1] * n, pa.uint64()), lambda: pa.array(["a", "b"] * 4),
        lambda: pa.array(["a", "b"] * 4).dictionary_encode(), lambda: pa.array([0.5] * n),
        lambda: pa.array([None] * n), lambda: pa.array([None] * n, pa.int64()),
        lambda: pa.array([[0, 1]] * n), lambda: pa.array([True] * n), lambda: pa.array([0] * n),
        lambda: pa.array(pictures), lambda: pa.array([{"bytes": each} for each in pictures]),
        lambda: pa.array(pictures).dictionary_encode(), lambda: pa.array([b""] * n),
        lambda: pa.array([{"path": "/dev/zero"}] * n), lambda: pa.array([b"\0" * 99] * n),
        lambda: pa.array([{"bytes": None, "path": "a.png"}] * n),
    )  # fmt: skip
    images = columns[12]() if pick.random() < 0.6 else pick.choice(columns)()
    labels = pa.array([0, 1] * 4) if pick.random() < 0.4 else pick.choice(columns)()
    rows = pa.table({"img": images, "label": labels})
    if pick.random() < 0.1:
        rows = repeated(pick)
    if pick.random() < 0.3:
        names = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
        rows = rows.replace_schema_metadata({"huggingface": json_text(pick, names)})
    kept = io.BytesIO()
    pq.write_table(rows, kept, compression=pick.choice(["snappy", "zstd", "gzip", "none"]),
                   dictionary_pagesize_limit=2**30, store_schema=pick.random() < 0.5)  # fmt: skip
    (folder / "x.parquet").write_bytes(perhaps(pick, kept.getvalue()))
    place = pick.choice(["x.parquet", ".", "*.parquet"])
    return [*on([f"parquet:{place}"]), "--limit", "2000"]


def repeated(pick: random.Random) -> pa.Table:
    """A small file of 4 GiB: a thousand rows that are one and the same."""
    one = pick.choice([image(pick, "PNG"), b""])
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 1024), [one + bytes(2**22)])
    images = pa.StructArray.from_arrays([rows], ["bytes"]) if pick.random() < 0.5 else rows
    return pa.table({"img": images, "label": [0] * 1024})


def npz(pick: random.Random, folder: Path) -> list[str]:
    n, kept = 8, io.BytesIO()
    arrays = {
        "images": pick.choice([np.zeros((n, 16, 16), np.uint8), np.zeros((n, 16, 16, 3), np.uint8),
                               np.zeros((n, 3, 16, 16)), np.array([{}] * n), np.zeros(0)]),
        "labels": pick.choice([np.arange(n), np.array(["a"] * n), np.arange(n) * 10**6, np.array(1),
                               np.full(n, -1), np.zeros((n, 1), np.uint8), np.array([0.5] * n)]),
    }  # fmt: skip
    np.savez_compressed(kept, **arrays)
    found = kept.getvalue()
    if pick.random() < 0.4:
        shape = tuple(pick.choice([*HUGE, 8, 16]) for _ in range(pick.randint(0, 5)))
        kind = pick.choice(["|u1", "|O", "<f8", "x" * 99, "|V1"])
        form = {"descr": kind, "fortran_order": False, "shape": shape}
        head = io.BytesIO()
        with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
            text = repr(form).encode() if pick.random() < 0.8 else b"(" * DEEP
            head.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text)
            archive.writestr("images.npy", head.getvalue() + bytes(pick.choice([0, 2048, 2**26])))
            archive.writestr("labels.npy", b"\x93NUMPY" + pick.randbytes(60))
        found = kept.getvalue()
    (folder / "x.npz").write_bytes(perhaps(pick, found))
    return on(["npz:x.npz"])


def archive(pick: random.Random, folder: Path) -> list[str]:
    """What is called CIFAR-10 and is not."""
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w:gz") as made:
        for name in ("test_batch", "batches.meta", "../escaped", "/tmp/escaped"):
            content = pick.choice([pickle.dumps(asking(pick)), bytes(2**24), b""])
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            if pick.random() < 0.2:
                member.type, member.linkname = pick.choice([tarfile.SYMTYPE, tarfile.FIFOTYPE]), "x"
            made.addfile(member, io.BytesIO(content))
    content = pick.choice([kept.getvalue(), gzip.compress(bytes(2**26)), kept.getvalue()[:99]])
    (folder / "cifar-10-python.tar.gz").write_bytes(perhaps(pick, content))
    if pick.random() < 0.3:
        (folder / "cifar-10-batches-py").mkdir()
        (folder / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(asking(pick)))
    return [*on(["cifar10"]), "--data-root", "."]


# ---- what earlier runs left


def edits(pick: random.Random, folder: Path) -> list[str]:
    lines = ("delete 1", "delete 1..999999999", "delete " + "9" * 400, "repeat 1 99999999", "#",
             "order 3 2 1", "scale 1 1e400", "scale 1 nan", "run " + "1 " * 50_000, "swap 1 1",
             "parallel 1..3 99999999", "replace 1 constant", "delete 1;" * 5000, "delete \x00",
             "reverse 3..1", "delete 0", "delete -1", "cut 1..2", "delete 1..2..3", "repeat 1..3 9"
             )  # fmt: skip
    text = "\n".join(pick.choice(lines) for _ in range(pick.randint(1, 4)))
    (folder / "edits.txt").write_bytes(perhaps(pick, text.encode(), 0.2))
    return [*RUN, "--edits", "edits.txt"]


def run_folder(pick: random.Random, folder: Path) -> list[str]:
    """The folder, or the journal, of the same study, not as it was written."""
    kept, where = folder.parent.parent / "kept", pick.choice(["run", "run.partial"])
    for path in (kept / where).iterdir():
        (folder / where).mkdir(exist_ok=True)
        (folder / where / path.name).write_bytes(path.read_bytes())
    for path in (folder / where).iterdir():
        if path.suffix == ".json" and pick.random() < 0.7:
            path.write_text(json_text(pick, json.loads(path.read_text())), errors="replace")
        elif path.suffix in (".csv", ".npz", ".json") and pick.random() < 0.6:
            path.write_bytes(damaged(pick, path.read_bytes()))
    return RUN


KINDS = (weights, safetensors, folder_of_images, listed, class_map, parquet, npz, archive, edits,
         run_folder)  # fmt: skip
