"""Studies kept like files: listed, renamed, deleted, cleaned, archived and restored."""
