"""Records that show when they were edited: each has a digest of itself and of the one before.

This finds slips and second thoughts, not a forger, who can compute digests too.
"""

import hashlib
import json
from typing import Any

DIGEST = "digest"


def signed(record: dict[str, Any], previous: str) -> dict[str, Any]:
    """Return a record with its digest.

    Args:
        record: what was found out.
        previous: the digest of the record before; empty for the first.
    """
    return record | {DIGEST: _digest(_text(record), previous)}


def unsigned(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as it was before it got a digest."""
    return {key: value for key, value in record.items() if key != DIGEST}


def edited(records: list[dict[str, Any]]) -> list[bool]:
    """Say of each record whether it is not what was written, or one that it followed is gone.

    A record may follow any earlier one, since two processes may write at once. Records of earlier
    versions have no digest, and none is missed until the first that has one.
    """
    found, known = [], []
    for record in records:
        digest, text = record.get(DIGEST), _text(unsigned(record))
        if digest is None:
            found.append(bool(known))
            continue
        found.append(all(digest != _digest(text, each) for each in reversed(known or [""])))
        known.append(digest)
    return found


def signed_anew(records: list[dict[str, Any]], keep: list[bool]) -> list[dict[str, Any]]:
    """Return the records that are kept, chained to one another; what was edited stays visible."""
    made, previous = [], ""
    for record, was_edited, is_kept in zip(records, edited(records), keep, strict=True):
        if not is_kept:
            continue
        if DIGEST in record and not was_edited:
            record = signed(unsigned(record), previous)
        made.append(record)
        previous = record.get(DIGEST, previous)
    return made


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


def _digest(text: str, previous: str) -> str:
    return hashlib.sha256(f"{previous}{text}".encode()).hexdigest()[:12]
