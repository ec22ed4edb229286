"""Chat templates of the supported families, after what the hub has: where the image stands, what is put around it."""

LLAVA = """
{%- for message in messages -%}
    {%- if message.role != "system" %}{{ message.role | upper }}: {% endif -%}
    {%- for part in message.content if part.type == "image" %}{{ "<image>\n" }}{% endfor -%}
    {%- for part in message.content if part.type == "text" %}{{ part.text }} {% endfor -%}
{%- endfor -%}
{%- if add_generation_prompt %}ASSISTANT:{% endif -%}
"""

ONEVISION = """
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + " " -}}
    {%- for part in message.content if part.type == "image" %}<image>{% endfor -%}
    {%- for part in message.content if part.type == "text" %}{{ "\n" + part.text }}{% endfor -%}
    <|im_end|>
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif -%}
"""

QWEN3 = """
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + "\n" -}}
    {%- if message.content is string %}{{ message.content }}{% else -%}
        {%- for part in message.content -%}
            {%- if part.type == "image" %}<|vision_start|><|image_pad|><|vision_end|>
            {%- elif part.type == "text" %}{{ part.text }}{% endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- "<|im_end|>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif -%}
"""

QWEN_SYSTEM = """
{%- if messages[0].role != "system" -%}
    {{- "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" -}}
{%- endif -%}
"""

QWEN2 = QWEN_SYSTEM + QWEN3

LLAVA_NEXT = """
{%- for message in messages -%}
    {{- "[INST] " -}}
    {%- for part in message.content if part.type == "image" %}{{ "<image>\n" }}{% endfor -%}
    {%- for part in message.content if part.type == "text" %}{{ part.text }}{% endfor -%}
    {{- " [/INST]" -}}
{%- endfor -%}
"""

INTERNVL = """
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + "\n" -}}
    {%- for part in message.content -%}
        {%- if part.type == "image" %}{{ "<IMG_CONTEXT>\n" }}{% else %}{{ part.text }}{% endif -%}
    {%- endfor -%}
    {{- "<|im_end|>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif -%}
"""

IDEFICS3 = """
{{- "<|begin_of_text|>" -}}
{%- for message in messages -%}
    {{- message.role | capitalize + (":" if message.content[0].type == "image" else ": ") -}}
    {%- for part in message.content -%}
        {%- if part.type == "image" %}<image>{% else %}{{ part.text }}{% endif -%}
    {%- endfor -%}
    {{- "<end_of_utterance>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt %}Assistant:{% endif -%}
"""

GEMMA3 = """
{{- bos_token -}}
{%- for message in messages -%}
    {{- "<start_of_turn>" + message.role + "\n" -}}
    {%- for part in message.content -%}
        {%- if part.type == "image" %}<start_of_image>{% else %}{{ part.text | trim }}{% endif -%}
    {%- endfor -%}
    {{- "<end_of_turn>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<start_of_turn>model\n" }}{% endif -%}
"""

MISTRAL3 = """
{{- bos_token -}}
{%- for message in messages -%}
    [INST]
    {%- for part in message.content -%}
        {%- if part.type == "image" %}[IMG]{% else %}{{ part.text }}{% endif -%}
    {%- endfor -%}
    [/INST]
{%- endfor -%}
"""
