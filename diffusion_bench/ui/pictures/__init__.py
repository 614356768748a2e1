"""The tab *Text to image* behind its page: fields, drawing, results, comparing."""
