"""Self-contained HTML reports; `page` is what they share."""
