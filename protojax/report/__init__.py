"""Evidence -> pages, tables, sentences and pictures."""
