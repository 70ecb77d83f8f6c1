"""The kind of processor, on which the last bits of numbers depend; many kinds share a name."""

import platform
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_NUMBERS = {"cpu family": "family", "model": "model", "stepping": "stepping"}
_NUMBERS |= {"CPU implementer": "implementer", "CPU part": "part"}  # On ARM.
# Vector instructions, widest first: word of /proc/cpuinfo -> name.
_VECTORS = {"avx512f": "avx512", "avx2": "avx2", "avx": "avx", "sse4_2": "sse4"}
_VECTORS |= {"sve": "sve", "asimd": "neon"}


def read_info() -> dict[str, str]:
    """The entries of the first processor in /proc/cpuinfo; empty on systems without that file."""
    try:
        first = CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    entries = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in entries}


def brand(info: Mapping[str, str]) -> str:
    """The processor's brand, such as `AMD EPYC`."""
    return info.get("model name") or platform.processor() or platform.machine()


def model(info: Mapping[str, str]) -> str:
    """The processor's exact model, such as `AMD EPYC (family 25, model 1, stepping 1)`."""
    numbers = ", ".join(f"{word} {info[key]}" for key, word in _NUMBERS.items() if key in info)
    return f"{brand(info)} ({numbers})" if numbers else brand(info)


def vectors(info: Mapping[str, str]) -> str:
    """The widest vector instructions it has, such as `avx2`."""
    words = f"{info.get('flags', '')} {info.get('Features', '')}".split()
    return next((name for word, name in _VECTORS.items() if word in words), "unknown")
