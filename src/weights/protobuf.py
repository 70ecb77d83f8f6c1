"""Reads the fields of a protobuf message without its schema.

Google's library would need a description of each message, copies a file of a quarter gigabyte
twice, and says that a file is damaged, but not where.
"""

from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # Wire types; 3 and 4, groups, are history.
LONGEST = 10  # Bytes of the longest number.


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field, in order; a value is a whole number, or bytes.

    Numbers of a fixed width are given as bytes as well.

    Raises:
        ValueError: If the message does not follow the format, saying at which byte.
    """
    at = 0
    while at < len(message):
        begin = at
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(message, at)
        elif wire in (FOUR_BYTES, EIGHT_BYTES):
            size = 4 if wire == FOUR_BYTES else 8
        else:
            raise ValueError(f"byte {begin} begins no field: the file is damaged")
        if at + size > len(message):
            missing = at + size - len(message)
            raise ValueError(f"field {number} at byte {begin} lacks {missing} of its {size} bytes")
        yield number, message[at : at + size]
        at += size


def text(value: int | memoryview) -> str:
    """The string in a field; bytes that are not UTF-8 are replaced.

    Raises:
        ValueError: If the field holds a number.
    """
    return octets(value).tobytes().decode(errors="replace")


def octets(value: int | memoryview) -> memoryview:
    """The bytes in a field.

    Raises:
        ValueError: If the field holds a number.
    """
    if isinstance(value, int):
        raise ValueError(f"a number, {value}, where bytes belong: the file is damaged")
    return value


def integer(value: int | memoryview) -> int:
    """The number in a field.

    Raises:
        ValueError: If the field holds bytes.
    """
    if not isinstance(value, int):
        raise ValueError(f"{len(value)} bytes where a number belongs: the file is damaged")
    return value


def integers(value: int | memoryview) -> list[int]:
    """The numbers in a repeated field: a single one, or many packed into bytes.

    Raises:
        ValueError: If the bytes end within a number.
    """
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(number)
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number, seven bits a byte with the lowest first, and the place after it."""
    number = 0
    for place, byte in enumerate(message[at : at + LONGEST]):
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number, at + place + 1
    raise ValueError(f"the number at byte {at} does not end: the file is truncated or damaged")
