"""Message classes that no package ships: Loki's entry and google.rpc.Status.

Built from descriptors, so protobuf's own parser reads them. Sources: grafana/loki
pkg/push/push.proto, googleapis google/rpc/status.proto.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["Entry", "Status"]

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING, "int32": _Field.TYPE_INT32, "int64": _Field.TYPE_INT64,
}  # fmt: skip

_MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    # name → field → (number, type, repeated)
    "Status": {"code": (1, "int32", False), "message": (2, "string", False)},
    "Timestamp": {"seconds": (1, "int64", False), "nanos": (2, "int32", False)},
    "Label": {"name": (1, "string", False), "value": (2, "string", False)},
    "Entry": {
        "timestamp": (1, "Timestamp", False),
        "line": (2, "string", False),
        "structuredMetadata": (3, "Label", True),
    },
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="tocsin/doors.proto", package="tocsin.doors", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            scalar = _SCALARS.get(kind)
            message.field.add(
                name=field,
                number=number,
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                type=_Field.TYPE_MESSAGE if scalar is None else scalar,
                type_name=f".tocsin.doors.{kind}" if scalar is None else None,
            )
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())


def _class(name: str) -> Any:
    found = _pool.FindMessageTypeByName(f"tocsin.doors.{name}")
    return message_factory.GetMessageClass(found)


Entry = _class("Entry")
Status = _class("Status")
