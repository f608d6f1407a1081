"""What watches a run and what keeps it: pictures, figures, progress, a graceful end."""
