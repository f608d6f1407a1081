"""Pictures, tables and pages made of the figures of runs."""
