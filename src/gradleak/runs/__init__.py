"""Jobs, from spec to rows."""
