"""VSC: each thing of a text is drawn alone, seen, and told to the drawing."""
