"""Models from http(s) addresses, fetched with care."""
