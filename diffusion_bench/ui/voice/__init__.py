"""The tab *Voice cloning* behind its page: fields, recordings, speaking, results, comparing."""
