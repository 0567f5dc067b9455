"""The catalog: its folders, its tables, its pictures."""
