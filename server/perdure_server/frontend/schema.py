"""JSON Schemas of the wire's Structs, for the OpenAPI document, read from msgspec's own view of the types.

msgspec's generator refuses defaults that are `Raw`, which is how values pass through the server; so this is a small
one for the types that the wire uses. It must not know endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct, inspect

from perdure_proto.codec import encoder

Schema = dict[str, Any]

SIMPLE: dict[type[inspect.Type], Schema] = {
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.NoneType: {"type": "null"},
    inspect.BoolType: {"type": "boolean"},
    inspect.StrType: {"type": "string"},
    inspect.FloatType: {"type": "number"},
    inspect.DateTimeType: {"type": "string", "format": "date-time"},
    inspect.TimeDeltaType: {"type": "string", "format": "duration"},
}


class Schemas:
    """Collects the components that the schemas refer to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, type: type) -> Schema:
        """The schema of a type; a Struct is a reference to its component."""
        return self._schema(inspect.type_info(type))

    def fields(self, type: type[Struct]) -> Iterable[tuple[str, Schema, bool]]:
        """Name, schema and whether it is required, of each field of a Struct."""
        info = inspect.type_info(type)
        assert isinstance(info, inspect.StructType), type
        for field in info.fields:
            yield field.encode_name, self._field(field), field.required

    def _schema(self, info: inspect.Type) -> Schema:
        simple = SIMPLE.get(info.__class__)
        if simple is not None:
            return dict(simple)
        match info:
            case inspect.StructType():
                return self._reference(info)
            case inspect.IntType():
                bounds = {"minimum": info.ge, "maximum": info.le}
                return {"type": "integer"} | {key: bound for key, bound in bounds.items() if bound is not None}
            case inspect.LiteralType():
                return {"type": "string", "enum": list(info.values)}
            case inspect.EnumType():
                return {"type": "string", "enum": [member.value for member in info.cls]}
            case inspect.DictType():
                return {"type": "object", "additionalProperties": self._schema(info.value_type)}
            case inspect.ListType() | inspect.VarTupleType():
                return {"type": "array", "items": self._schema(info.item_type)}
            case inspect.UnionType():
                return {"anyOf": [self._schema(member) for member in info.types]}
            case inspect.Metadata():
                return self._schema(info.type)
            case _:
                raise TypeError(f"the wire has no schema for {info!r}: add it here")

    def _reference(self, info: inspect.StructType) -> Schema:
        name = info.cls.__name__
        if name not in self.components:
            self.components[name] = {}  # a type may hold itself
            properties = {field.encode_name: self._field(field) for field in info.fields}
            if info.tag_field is not None:
                properties = {info.tag_field: {"const": info.tag}} | properties
            required = [field.encode_name for field in info.fields if field.required]
            self.components[name] = {
                "type": "object",
                "description": " ".join((info.cls.__doc__ or "").split()),
                "properties": properties,
                "required": ([info.tag_field] if info.tag_field is not None else []) + required,
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _field(self, field: inspect.Field) -> Schema:
        schema = self._schema(field.type)
        if field.required:
            return schema
        made = field.default_factory
        default = made() if callable(made) else field.default
        if default is None or "$ref" in schema:
            return schema
        return schema | {"default": plain(default)}


def plain(value: object) -> object:
    """A value as JSON has it."""
    decoded: object = msgspec.json.decode(value if isinstance(value, Raw) else encoder.encode(value))
    return decoded
