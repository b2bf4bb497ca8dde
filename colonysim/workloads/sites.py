"""The sites of traces: their names, and what they become for recorded processes."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from colonysim.core.types import Conditions


class SitePlaces:
    """The conditions of recorded processes, by their site."""

    def __init__(self, plain: Conditions, sites: str) -> None:
        self.plain = plain
        self.sites = sites
        self.known: dict[str, Conditions] = {}

    def at(self, site: str) -> Conditions:
        found = self.known.get(site)
        if found is None:
            fields: dict[str, Any] = {}
            if site and self.sites == "location":
                fields = {"locationname": site_name(site)}
            elif site and self.sites == "type":
                fields = {"executortype": site_name(site)}
            found = self.known[site] = replace(self.plain, **fields) if fields else self.plain
        return found


def site_name(site: str) -> str:
    """Return the name of a site: `site7` for 7, because a number alone is not clear."""
    return f"site{site}" if site.isdigit() else site
