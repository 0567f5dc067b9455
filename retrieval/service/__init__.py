"""The web service: photos in over HTTP, the documents of `itemrec query --json` out, and a page for people."""
