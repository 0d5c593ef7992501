"""A sweep's report: from finished runs to tables with error bars."""
