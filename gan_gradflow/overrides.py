"""What overrides say once Hydra has read them: without signs, packages and quotes."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException


def read(arguments: Iterable[str]) -> list[Override]:
    """The overrides among the arguments of a command, without those not to be read."""
    found, parser = [], OverridesParser.create()
    for argument in arguments:
        with contextlib.suppress(HydraException):
            found.append(parser.parse_override(argument))
    return found


def key_of(override: str) -> str:
    """The key or group that an override is for."""
    return OverridesParser.create().parse_override(override).key_or_group


def last_value(arguments: Iterable[str], key: str) -> Any:
    """What a key or group is given last; None where it is given nothing."""
    given = [o for o in read(arguments) if (o.key_or_group, o.package) == (key, None)]
    return given[-1].value() if given else None


def quoted(value: str | Path) -> str:
    """A value so that Hydra reads it as it stands."""
    return QuotedString(str(value), Quote.single).with_quotes()
