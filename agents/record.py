"""``typing.NamedTuple`` for what Pacemaker runs every few seconds.

Importing ``typing`` costs 6 ms of processor time, and it makes each class by compiling text, 0.4 ms; this costs nothing
that can be measured. To the type checker it is the real one.
"""

from __future__ import annotations

from _operator import itemgetter  # the operator module would be one more file to read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:

    class _Meta(type):
        """Makes each annotation of a class a field of its tuples; a value given to it is its default."""

        def __new__(meta, name, bases, namespace):
            if bases:  # not NamedTuple itself
                fields = tuple(namespace.get("__annotations__", ()))
                namespace["_defaults"] = {field: namespace.pop(field) for field in fields if field in namespace}
                namespace["_fields"] = namespace["__match_args__"] = fields
                namespace["__slots__"] = ()
                namespace.update((field, property(itemgetter(index))) for index, field in enumerate(fields))
            return super().__new__(meta, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_Meta):
        """A tuple whose items have names."""

        __slots__ = ()

        def __new__(cls, *args: Any, **named: Any):
            """Values by position and by name; TypeError unless every field without a default gets exactly one."""
            placed = dict(zip(cls._fields, args))
            values = {**cls._defaults, **placed, **named}
            if len(args) > len(cls._fields) or placed.keys() & named or values.keys() ^ cls._fields:
                raise TypeError(f"{cls.__name__}() takes {', '.join(cls._fields)}; given {args}, {named}")
            return tuple.__new__(cls, [values[field] for field in cls._fields])

        def _replace(self, **named: Any):
            """A copy with other values for the fields that are named."""
            return type(self)(**{**self._asdict(), **named})

        def _asdict(self):
            """The values by field."""
            return dict(zip(self._fields, self))

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._asdict().items())})"

        def __getnewargs__(self):
            return tuple(self)


__all__ = ["NamedTuple"]
