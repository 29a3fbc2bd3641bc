"""Compilation: how kernels become machine code, and where that code is kept.

Law: stale machine code never runs. numba's own cache looks only at the file of the outermost function and
silently keeps old code when a callee elsewhere changes, so the cache directory is named by a hash of every
source that kernels are made of, of the versions of numba, llvmlite and numpy, and of the settings that change
the code.
"""

import hashlib
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic, overload

from engine import money

F = TypeVar("F", bound=Callable[..., Any])

CORE: Final = Path(__file__).parent
INVERSE_BITS: Final = 62
SOURCES: Final = ("core", "vocabulary.py", "records.py", "money.py")
SETTINGS: Final = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_BOUNDSCHECK", "NUMBA_OPT")


def cache_key(package: Path = CORE.parent) -> str:
    """16 hex digits over the sources of the kernels, the compiler's versions and its settings."""
    digest = hashlib.sha256()
    for name in SOURCES:
        root = package / name
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    for distribution in ("numba", "llvmlite", "numpy"):
        digest.update(version(distribution).encode())
    for setting in SETTINGS:
        digest.update(f"{setting}={os.environ.get(setting, '')}".encode())
    return digest.hexdigest()[:16]


def cache_directory() -> Path:
    """Where this version's machine code lives: LECONG_CACHE, or .cache beside the sources, or the user's
    cache.
    """
    beside = CORE.parent.parent
    if os.environ.get("LECONG_CACHE"):
        root = Path(os.environ["LECONG_CACHE"])
    elif os.access(beside, os.W_OK):
        root = beside / ".cache"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lecong"
    return root / "numba" / cache_key()


COMPILED: Final = not config.DISABLE_JIT
TABLES: Final = COMPILED and not config.BOUNDSCHECK  # kernels see tables; else the arrays themselves
if COMPILED:  # pragma: no cover - interpreted, nothing is kept
    config.CACHE_DIR = str(cache_directory())

_OPTIONS: Final = {"nogil": True, "error_model": "numpy", "boundscheck": None}


def kernel(function: F) -> F:
    """An entry point: called from Python once per batch, compiled once per machine."""
    return numba.njit(cache=True, **_OPTIONS)(function)  # type: ignore[no-any-return]


def part(function: F) -> F:
    """A piece of a kernel, always inlined: to pass a dozen arrays would cost more than its work."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)  # type: ignore[no-any-return]


def routine(function: F) -> F:
    """A piece of a kernel that is called, not inlined: for what is rare or large."""
    return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]


def spliced(function: F) -> F:
    """A piece of a kernel that becomes part of its only caller before anything is compiled.

    numba optimizes every function with all that it calls, again at each level; a spliced one is no level.
    """
    return numba.njit(inline="always", **_OPTIONS)(function)  # type: ignore[no-any-return]


def called(function: F) -> F:
    """The same piece of a kernel, called instead of inlined: where it is rare, and machine code would be
    doubled.
    """
    return routine(getattr(function, "py_func", function))


@intrinsic
def _count_trailing_zeros(
    typing_context: Any, word: Any
) -> Any:  # pragma: no cover - runs inside the compiler
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), generate


def _lowest_bit_compiled(word: Any) -> Any:  # pragma: no cover - runs compiled
    return _count_trailing_zeros(word)


def _lowest_bit_interpreted(word: Any) -> int:
    return (int(word) & -int(word)).bit_length() - 1


# The index of the lowest set bit of a non-zero u64: one instruction compiled; interpreted, its twin.
lowest_bit = part(_lowest_bit_compiled) if COMPILED else _lowest_bit_interpreted


@intrinsic
def _rare(typing_context: Any) -> Any:  # pragma: no cover - runs inside the compiler
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        nothing = builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", (), side_effect=True)
        set.add(nothing.attributes, "cold")  # llvmlite itself knows the word for functions only
        return context.get_dummy_value()

    return types.none(), generate


def _rare_interpreted() -> None:
    return


# Says that a branch is seldom taken, so that machine code and registers are laid out for the others.
rare = _rare if COMPILED else _rare_interpreted


@intrinsic
def _floored(
    typing_context: Any, number: Any, divisor: Any
) -> Any:  # pragma: no cover - runs inside the compiler
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.udiv(*arguments)

    return types.int64(types.int64, types.int64), generate


@overload(money.floored, inline="always")
def _floored_compiled(number: Any, divisor: Any) -> Any:  # pragma: no cover - runs inside the compiler
    def divided(number: Any, divisor: Any) -> Any:
        return _floored(number, divisor)

    return divided


@intrinsic
def _quotient(
    typing_context: Any, number: Any, inverse: Any
) -> Any:  # pragma: no cover - runs inside the compiler
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*[builder.zext(argument, wide) for argument in arguments])
        return builder.trunc(builder.lshr(product, wide(INVERSE_BITS)), arguments[0].type)

    return types.int64(types.int64, types.int64), generate


def _quotient_interpreted(number: Any, inverse: Any) -> np.int64:
    return np.int64((int(number) * int(inverse) >> INVERSE_BITS) & 0x7FFFFFFFFFFFFFFF)


# number // divisor for 0 <= number < 2**33 and inverse = inverse_of(divisor): a division takes ten times as
# long.
quotient = _quotient if COMPILED else _quotient_interpreted


def _wrapping_product_compiled(left: Any, right: Any) -> Any:  # pragma: no cover - runs compiled
    return left * right


def _wrapping_product_interpreted(left: Any, right: Any) -> np.uint64:
    return np.uint64(int(left) * int(right) & 0xFFFFFFFFFFFFFFFF)


# The product of two u64 modulo 2**64: compiled it wraps by itself; interpreted NumPy would warn.
wrapping_product = part(_wrapping_product_compiled) if COMPILED else _wrapping_product_interpreted
