"""The inference side: the queue before it, the threads, the pipeline, the model."""
