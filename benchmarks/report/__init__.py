"""Records of load tests as one report: Markdown, and one HTML page with plots."""
