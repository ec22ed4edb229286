"""Chat templates of the supported families, after what the hub has: where the image stands, what is put around it."""


def template(start: str, image: str, text: str, end: str, answer: str = '""', begin: str = '""') -> str:
    """Of expressions of Jinja: what begins the prompt; what starts a message, stands for its images, then gives its
    texts, and ends it; what asks for an answer."""
    return f"""
{{{{- {begin} -}}}}
{{%- for message in messages -%}}
    {{{{- {start} -}}}}
    {{%- for part in message.content if part.type == "image" %}}{{{{ {image} }}}}{{% endfor -%}}
    {{%- for part in message.content if part.type == "text" %}}{{{{ {text} }}}}{{% endfor -%}}
    {{{{- {end} -}}}}
{{%- endfor -%}}
{{%- if add_generation_prompt %}}{{{{ {answer} }}}}{{% endif -%}}
"""


LLAVA = template(
    '"" if message.role == "system" else message.role | upper + ": "',
    r'"<image>\n"',
    'part.text + " "',
    '""',
    '"ASSISTANT:"',
)
LLAVA_NEXT = template('"[INST] "', r'"<image>\n"', "part.text", '" [/INST]"')
MISTRAL3 = template('"[INST]"', '"[IMG]"', "part.text", '"[/INST]"', begin="bos_token")
IDEFICS3 = template(
    'message.role | capitalize + (":" if message.content[0].type == "image" else ": ")',
    '"<image>"',
    "part.text",
    r'"<end_of_utterance>\n"',
    '"Assistant:"',
    begin='"<|begin_of_text|>"',
)
GEMMA3 = template(
    r'"<start_of_turn>" + message.role + "\n"',
    '"<start_of_image>"',
    "part.text | trim",
    r'"<end_of_turn>\n"',
    r'"<start_of_turn>model\n"',
    begin="bos_token",
)

# What Qwen's language models were taught to read.
START, END, ANSWER = r'"<|im_start|>" + message.role + "\n"', r'"<|im_end|>\n"', r'"<|im_start|>assistant\n"'
ONEVISION = template('"<|im_start|>" + message.role + " "', '"<image>"', r'"\n" + part.text', '"<|im_end|>"', ANSWER)
INTERNVL = template(START, r'"<IMG_CONTEXT>\n"', "part.text", END, ANSWER)
QWEN3 = template(START, '"<|vision_start|><|image_pad|><|vision_end|>"', "part.text", END, ANSWER)
QWEN2 = (
    """
{%- if messages[0].role != "system" -%}
    {{- "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" -}}
{%- endif -%}
"""
    + QWEN3
)
