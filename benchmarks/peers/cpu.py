"""What this machine is: processor, instruction sets, caches. Linux only."""

import platform
import re
from pathlib import Path


def _cpuinfo(key: str) -> str:
    found = re.search(rf"^{key}\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else ""


def model_name() -> str:
    family = ", ".join(f"{key} {value}" for key in ("cpu family", "model") if (value := _cpuinfo(key)))
    return f"{_cpuinfo('model name') or platform.machine()} ({family})" if family else platform.machine()


def flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def notable_flags() -> list[str]:
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "i8mm", "bf16", "sve2")
    return [flag for flag in wanted if flag in flags()]


def has_bf16() -> bool:
    return bool(flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def has_int8_dot() -> bool:
    return bool(flags() & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})


def last_cache_bytes() -> int:
    """The largest cache that a processor of this machine reports; 32 MiB where it reports none."""
    sizes = []
    for size in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        number = re.match(r"(\d+)([KM])", size.read_text())
        if number:
            sizes.append(int(number.group(1)) << {"K": 10, "M": 20}[number.group(2)])
    return max(sizes, default=32 << 20)


def describe() -> dict:
    return {"cpu": model_name(), "flags": notable_flags(), "last_cache_bytes": last_cache_bytes(), "kernel": platform.release()}
