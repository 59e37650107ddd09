"""Mistakes that type checkers find: each line with a comment is one. `test_types.py` compares."""

import clientlet

client = clientlet.Client("grpc://localhost:1", atempt_timeout=3)  # mistake
client = clientlet.Client("grpc://localhost:1", attempt_timeout="3")  # mistake
client.post("/search", {"text": "a"}, reqest_size=3)  # mistake
client.post("/search", {"text": "a"}, request_size="3")  # mistake
client.post("/search", {"text": "a"}, return_type="rows")  # mistake
client.post("/search", {"text": "a"}, stream=True, on_done=print)  # mistake
text: str = client.post("/search", {"text": "a"})  # mistake
for response in client.post("/search", {"text": "a"}, stream=True):
    number: int = response.request_id  # mistake
