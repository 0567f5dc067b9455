"""What comes from http(s) addresses, fetched with care."""
