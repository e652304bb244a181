"""Files and batches of the endpoint, as OpenAI's Batch API has them."""
