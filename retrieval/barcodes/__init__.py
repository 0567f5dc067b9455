"""Barcodes in photos: `gtin` says which spellings are one code, `scan` reads them (extra: barcode)."""
