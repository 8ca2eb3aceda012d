"""Writes docs/licences.md: the licence of every package in requirements*.txt, from the installed packages' metadata.

`make licences` runs it. Packages of extras that are not installed keep the line that the file has for them.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "licences.md"
HEAD = """# Licences of what lobgraph is installed with

Made by `make licences` from the metadata of the installed packages; `tests/test_supply.py` holds it to requirements*.txt.
lobgraph itself is under the MIT licence (LICENSE) and contains none of their code. "Brought by" says which file pins it.

| package | version | licence | brought by |
|---|---|---|---|
"""


# Those that ask for more than their notice to be kept, or say nothing a program can read, and why they may be used.
EXPLAINED = {
    "certifi": "MPL 2.0 binds changes to its own files; it is used unchanged",
    "tqdm": "as certifi",
    "pathspec": "as certifi; only with the extra docs",
    "orjson": "as certifi; only with the extra torchrl",
    "hypothesis": "as certifi; only for development",
    "torchrl": "its metadata name none; the licence file it installs is MIT",
    "cuda-toolkit": "a package of requirements only, of NVIDIA's next ones",
    "nvidia-cuda-cccl": "NVIDIA's licence of the CUDA toolkit, which allows its use and forbids changing it; only with the extra cuda, "
    "which the user chooses; nothing of it is passed on by lobgraph",
    "nvidia-cuda-nvrtc": "as nvidia-cuda-cccl",
    "nvidia-cuda-runtime": "as nvidia-cuda-cccl",
    "nvidia-nvjitlink": "as nvidia-cuda-cccl",
    "nvidia-nvvm": "as nvidia-cuda-cccl",
}
PERMISSIVE = re.compile(
    r"MIT|Apache|BSD|ISC|PSF|Python Software Foundation|NCSA|HPND|Zlib|CC0|BSL-1\.0|Unlicense|LLVM-exception|Public Domain"
)


def is_permissive(text: str) -> bool:
    """Whether every part of a licence's text ("A AND (B OR C)", "A, B") names a permissive licence."""
    parts = re.split(r" AND |, ", text)
    return all(PERMISSIVE.search(part) and not re.search(r"GPL|MPL|Proprietary", part) for part in parts)


def pins() -> dict[str, tuple[str, str]]:
    """Package -> (version, file), of all requirements*.txt; the first file that names it counts."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(ROOT.glob("requirements*.txt"), key=lambda p: (len(p.name), p.name)):
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;]+)", line):
                found.setdefault(match[1], (match[2], path.name))
    return found


def licence(name: str) -> str:
    """SPDX expression where the package gives one, else its classifiers, else the first line of its licence field."""
    about = metadata.metadata(name)
    if expression := about.get("License-Expression"):
        return expression
    kinds = [c.rsplit(" :: ", 1)[-1] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    kinds = [kind for kind in kinds if kind != "OSI Approved"]
    text = (about.get("License") or "").strip().splitlines()
    return ", ".join(kinds) or (text[0][:80] if text else "not stated")


def rows() -> list[str]:
    known = {line.split("|")[1].strip(): line for line in old() if line.startswith("| ")}
    lines = []
    for name, (version, file) in sorted(pins().items(), key=lambda item: item[0].lower()):
        try:
            lines.append(f"| {name} | {version} | {licence(name)} | {file} |")
        except metadata.PackageNotFoundError:
            if name not in known:
                sys.exit(
                    f"licences: {name} ({file}) is not installed; EXTRAS=cuda,gym,sb3,torchrl make licences"
                )
            lines.append(known[name])
    return lines


def old() -> list[str]:
    return PAGE.read_text(encoding="utf-8").splitlines() if PAGE.is_file() else []


if __name__ == "__main__":
    lines = rows()
    why = "\n".join(f"- **{name}**: {reason}." for name, reason in EXPLAINED.items())
    tail = f"\n\n## Those that ask for more than their notice to be kept, or name no licence\n\n{why}\n"
    PAGE.write_text(HEAD + "\n".join(lines) + tail, encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}, {len(lines)} packages")
