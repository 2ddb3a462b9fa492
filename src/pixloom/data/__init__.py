"""From folders to batches: where examples lie, how pairs stay aligned, and a loader that resumes at the exact sample."""
