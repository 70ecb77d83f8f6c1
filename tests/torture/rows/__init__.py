"""Every fault that was found in earlier versions, tried again in the situation it was found in."""

import re
import sys
from collections.abc import Sequence

from tests.torture.rows.room import ROWS, Row, try_row

__all__ = ["chosen", "try_row"]


def chosen(names: Sequence[str] = ()) -> list[Row]:
    """The rows of these names, or all, by letter and number; ends the program if there are none.

    All that commands import is imported here, so that forks have it.
    """
    import multiprocessing.sharedctypes  # noqa: F401, PLC0415

    import tensorflow_datasets  # noqa: F401, PLC0415

    from src import laboratory  # noqa: F401, PLC0415
    from src.reports import compose  # noqa: F401, PLC0415
    from tests.torture.rows import (  # noqa: F401, PLC0415
        fields,
        folders,
        machine,
        more,
        numbers,
        own,
        places,
        records,
        strangers,
    )

    if missing := set(names) - set(ROWS):
        sys.exit(f"no rows {', '.join(sorted(missing))}; there are {', '.join(ROWS)}")
    found = [ROWS[name] for name in names] if names else list(ROWS.values())
    return sorted(found, key=lambda each: (each.name[0], *_number(each.name)))


def _number(name: str) -> tuple[int, str]:
    digits = re.search(r"\d+", name)
    return int(digits[0]) if digits else 0, name
