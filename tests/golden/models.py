"""GPT-2 and Llama in plain PyTorch, built from a Hugging Face config dictionary.

Promises: the parameters carry the names, shapes and layouts of GPT2LMHeadModel and LlamaForCausalLM, so that
`dict(model.named_parameters())` is what a model.safetensors holds. No dropout. Runs in float32 and float64.
Needs: torch 1.13 or newer. Shapes: B batch, T tokens, C channels, H heads, KV key-value heads, D head size.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn


def causal_attention(q, k, v):
    """q (B, H, T, D), k and v (B, KV, T, D) -> (B, T, H*D); query head h reads key head h // (H / KV)."""
    B, H, T, D = q.shape
    group = H // k.shape[1]
    if group > 1:
        k = k.repeat_interleave(group, dim=1)  # (B, H, T, D)
        v = v.repeat_interleave(group, dim=1)  # (B, H, T, D)
    scores = q @ k.transpose(-1, -2) / math.sqrt(D)  # (B, H, T, T)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return (weights @ v).transpose(1, 2).reshape(B, T, H * D)


def split_heads(x, heads):
    """(B, T, heads*D) -> (B, heads, T, D)"""
    B, T, width = x.shape
    return x.view(B, T, heads, width // heads).transpose(1, 2)


class Conv1D(nn.Module):
    """GPT-2's affine map: the weight lies (in, out), transposed against nn.Linear."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        B, T, n_in = x.shape
        return torch.addmm(self.bias, x.reshape(B * T, n_in), self.weight).view(B, T, -1)


class GPT2Attention(nn.Module):
    def __init__(self, C, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = Conv1D(C, 3 * C)
        self.c_proj = Conv1D(C, C)

    def forward(self, x):
        q, k, v = (split_heads(part, self.heads) for part in self.c_attn(x).chunk(3, dim=-1))
        return self.c_proj(causal_attention(q, k, v))


class GPT2MLP(nn.Module):
    def __init__(self, C, inner):
        super().__init__()
        self.c_fc = Conv1D(C, inner)
        self.c_proj = Conv1D(inner, C)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))  # gelu_new


class GPT2Block(nn.Module):
    def __init__(self, C, heads, inner, eps):
        super().__init__()
        self.ln_1 = nn.LayerNorm(C, eps=eps)
        self.attn = GPT2Attention(C, heads)
        self.ln_2 = nn.LayerNorm(C, eps=eps)
        self.mlp = GPT2MLP(C, inner)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    """GPT2LMHeadModel with the head tied to transformer.wte.weight."""

    def __init__(self, config):
        super().__init__()
        C = config["n_embd"]
        eps = config["layer_norm_epsilon"]
        inner = config["n_inner"] or 4 * C
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(config["vocab_size"], C),
            "wpe": nn.Embedding(config["n_positions"], C),
            "h": nn.ModuleList(GPT2Block(C, config["n_head"], inner, eps) for _ in range(config["n_layer"])),
            "ln_f": nn.LayerNorm(C, eps=eps),
        })

    def forward(self, tokens):
        """tokens (B, T) -> logits (B, T, V)"""
        body = self.transformer
        x = body["wte"](tokens) + body["wpe"](torch.arange(tokens.shape[1]))  # (B, T, C)
        for block in body["h"]:
            x = block(x)
        return F.linear(body["ln_f"](x), body["wte"].weight)


class RMSNorm(nn.Module):
    def __init__(self, C, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(C))
        self.eps = eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


def rotate(x, theta):
    """Rotary positions on x (B, H, T, D); element i pairs with i + D/2, as in published Llama checkpoints."""
    T, D = x.shape[-2:]
    frequency = theta ** (-torch.arange(0, D, 2, dtype=x.dtype) / D)  # (D/2)
    angle = torch.outer(torch.arange(T, dtype=x.dtype), frequency)  # (T, D/2)
    cos, sin = angle.cos(), angle.sin()
    low, high = x[..., : D // 2], x[..., D // 2 :]
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


class LlamaAttention(nn.Module):
    def __init__(self, C, heads, kv_heads, theta):
        super().__init__()
        self.heads, self.kv_heads, self.theta = heads, kv_heads, theta
        D = C // heads
        self.q_proj = nn.Linear(C, heads * D, bias=False)
        self.k_proj = nn.Linear(C, kv_heads * D, bias=False)
        self.v_proj = nn.Linear(C, kv_heads * D, bias=False)
        self.o_proj = nn.Linear(heads * D, C, bias=False)

    def forward(self, x):
        q = rotate(split_heads(self.q_proj(x), self.heads), self.theta)
        k = rotate(split_heads(self.k_proj(x), self.kv_heads), self.theta)
        v = split_heads(self.v_proj(x), self.kv_heads)
        return self.o_proj(causal_attention(q, k, v))


class LlamaMLP(nn.Module):
    def __init__(self, C, inner):
        super().__init__()
        self.gate_proj = nn.Linear(C, inner, bias=False)
        self.up_proj = nn.Linear(C, inner, bias=False)
        self.down_proj = nn.Linear(inner, C, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaBlock(nn.Module):
    def __init__(self, C, heads, kv_heads, inner, theta, eps):
        super().__init__()
        self.self_attn = LlamaAttention(C, heads, kv_heads, theta)
        self.mlp = LlamaMLP(C, inner)
        self.input_layernorm = RMSNorm(C, eps)
        self.post_attention_layernorm = RMSNorm(C, eps)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """LlamaForCausalLM; with tie_word_embeddings there is no lm_head.weight."""

    def __init__(self, config):
        super().__init__()
        C, V = config["hidden_size"], config["vocab_size"]
        eps = config["rms_norm_eps"]
        self.model = nn.ModuleDict({
            "embed_tokens": nn.Embedding(V, C),
            "layers": nn.ModuleList(
                LlamaBlock(C, config["num_attention_heads"], config["num_key_value_heads"],
                           config["intermediate_size"], config["rope_theta"], eps)
                for _ in range(config["num_hidden_layers"])),
            "norm": RMSNorm(C, eps),
        })
        self.lm_head = None if config["tie_word_embeddings"] else nn.Linear(C, V, bias=False)

    def forward(self, tokens):
        """tokens (B, T) -> logits (B, T, V)"""
        x = self.model["embed_tokens"](tokens)  # (B, T, C)
        for block in self.model["layers"]:
            x = block(x)
        x = self.model["norm"](x)
        head = self.model["embed_tokens"] if self.lm_head is None else self.lm_head
        return F.linear(x, head.weight)


def build(config):
    """The model that config["architectures"] names."""
    return {"GPT2LMHeadModel": GPT2, "LlamaForCausalLM": Llama}[config["architectures"][0]](config)


def loss_of(model, tokens, targets):
    """Mean cross-entropy over tokens, targets (B, T)."""
    return F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())


def adamw(model, settings, **options):
    """AdamW that decays the tensors of two and more dimensions, embeddings included."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings["weight_decay"]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]),
                             eps=settings["eps"], **options)
