"""One job, from spec to rows."""
