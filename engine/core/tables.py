"""Tables: how kernels see the arrays of the exchange: an address, a row type, and nothing else.

Law: a kernel never indexes from the end and never asks a table for its length; sizes stand in the head.
numba's own arrays carry shape, strides and owner (seven words each) through every call, and turn each
negative index around; a table is one word, its strides are constants, and a batch costs a microsecond less to
hand over. `table["field"][row]` reads and writes as it does on the NumPy array, which is what kernels are
given instead where NUMBA_DISABLE_JIT or NUMBA_BOUNDSCHECK is set.
"""

import operator
from functools import cache
from hashlib import sha256
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.extending import register_model
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer, infer_global, signature
from numba.extending import intrinsic

from engine.records import CACHE_LINE_BYTES


class TableType(types.Type):  # type: ignore[misc]
    """Rows of one record type, somewhere."""

    def __init__(self, record: Any) -> None:  # pragma: no cover - runs inside the compiler
        """`record` is numba's type of a row."""
        self.record = record
        super().__init__(name=f"Table({record})")


class ColumnType(types.Type):  # type: ignore[misc]
    """One field of every row: numbers of one type, `stride` bytes apart.

    `region` names the bytes that it shares with no field of another region, in whatever table.
    """

    def __init__(
        self, number: Any, stride: int, region: str
    ) -> None:  # pragma: no cover - runs inside the compiler
        """`number` is numba's type of the field."""
        self.number, self.stride, self.region = number, stride, region
        super().__init__(name=f"Column({number}, {stride}, {region})")


register_model(TableType)(models.OpaqueModel)
register_model(ColumnType)(models.OpaqueModel)
BYTE = ir.IntType(8)


def table_type(row: Any) -> Any:  # pragma: no cover - runs inside the compiler
    """The kernels' type for an array of `row`: a table of records, or a column of plain numbers."""
    if isinstance(row, types.Record):
        return TableType(row)
    return ColumnType(row, row.bitwidth // 8, f"column of {row}")


@cache
def region_of(record: Any, name: str) -> str:  # pragma: no cover - runs inside the compiler
    """The name of the bytes of a field and of all fields that overlap them, of rows of this type."""
    spans = sorted((field[1], field[1] + field[0].itemsize) for field in record.dtype.fields.values())
    first = end = 0
    for start, stop in spans:
        if start > record.offset(name):
            break
        if start >= end:
            first = start
        end = max(end, stop)
    return f"{sha256(record.name.encode()).hexdigest()[:16]}+{first}"


def _at_region(builder: Any, access: Any, column: Any) -> Any:  # pragma: no cover - runs inside the compiler
    """Tell LLVM that a load or store touches its own region and no other (type-based alias analysis)."""
    zero = ir.IntType(64)(0)
    root = builder.module.add_metadata(["lecong"])
    region = builder.module.add_metadata([column.region, root, zero])
    access.set_metadata("tbaa", builder.module.add_metadata([region, region, zero]))
    return access


@infer
class _Field(AbstractTemplate):  # type: ignore[misc]
    key = "static_getitem"

    def generic(self, args: Any, kws: Any) -> Any:  # pragma: no cover - runs inside the compiler
        table, name = args
        if isinstance(table, TableType) and isinstance(name, str):
            record = table.record
            return signature(ColumnType(record.typeof(name), record.size, region_of(record, name)), *args)
        return None


@lower_builtin("static_getitem", TableType, types.StringLiteral)
def _field(
    context: Any, builder: Any, sig: Any, args: Any
) -> Any:  # pragma: no cover - runs inside the compiler
    offset = context.get_constant(types.intp, sig.args[0].record.offset(args[1]))
    return builder.gep(args[0], [offset])


@infer_global(operator.getitem)
class _Read(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:  # pragma: no cover - runs inside the compiler
        column, row = args
        if isinstance(column, ColumnType) and isinstance(row, types.Integer):
            return signature(column.number, column, types.intp)
        return None


@infer_global(operator.setitem)
class _Write(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:  # pragma: no cover - runs inside the compiler
        column, row, _ = args
        if isinstance(column, ColumnType) and isinstance(row, types.Integer):
            return signature(types.none, column, types.intp, column.number)
        return None


def _place(
    context: Any, builder: Any, column: Any, pointer: Any, row: Any
) -> Any:  # pragma: no cover - runs inside the compiler
    stride = context.get_constant(types.intp, column.stride)
    byte = builder.gep(pointer, [builder.mul(row, stride)])
    return builder.bitcast(byte, context.get_data_type(column.number).as_pointer())


@lower_builtin(operator.getitem, ColumnType, types.Integer)
def _read(
    context: Any, builder: Any, sig: Any, args: Any
) -> Any:  # pragma: no cover - runs inside the compiler
    column = sig.args[0]
    return _at_region(builder, builder.load(_place(context, builder, column, *args), align=1), column)


@lower_builtin(operator.setitem, ColumnType, types.Integer, types.Any)
def _write(
    context: Any, builder: Any, sig: Any, args: Any
) -> Any:  # pragma: no cover - runs inside the compiler
    column, (pointer, row, value) = sig.args[0], args
    place = _place(context, builder, column, pointer, row)
    _at_region(builder, builder.store(value, place, align=1), column)
    return context.get_dummy_value()


@intrinsic
def table_at(
    typing_context: Any, address: Any, row: Any
) -> Any:  # pragma: no cover - runs inside the compiler
    """The table of rows of dtype `row` (a NumPy dtype) that begins at `address`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], BYTE.as_pointer())

    return table_type(row.dtype)(types.intp, row), generate


@intrinsic
def table_of(typing_context: Any, array: Any, row: Any) -> Any:  # pragma: no cover - runs inside the compiler
    """The rows of a NumPy array as a table of dtype `row`, which has the same size."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        view = context.make_array(array)(context, builder, args[0])
        return builder.bitcast(view.data, BYTE.as_pointer())

    return table_type(row.dtype)(array, row), generate


@intrinsic
def prefetch(typing_context: Any, table: Any, row: Any) -> Any:  # pragma: no cover - runs compiled
    """Ask the processor for the cache lines of a row that is wanted soon; a wrong row does no harm."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        size, word = table.record.size, ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        start = builder.mul(args[1], context.get_constant(types.intp, size))
        for line in range(0, size, CACHE_LINE_BYTES):
            offset = builder.add(start, context.get_constant(types.intp, line))
            builder.call(function, [builder.gep(args[0], [offset]), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.none(table, types.intp), generate
