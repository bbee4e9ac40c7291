"""One frozen type per kind of job."""
