"""The graph encoder: dense equals sparse equals torch_geometric's own dense layer; sizes and orders of nodes are free."""

import math
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import leaky_relu

from lobgraph.models.attention import GATLayer
from lobgraph.models.encoder import KINDS, Kind, MarketGraphEncoder, SAGELayer, normalise_rows


def graph(n: int, seed: int = 0) -> torch.Tensor:
    """Random weights of both signs, some edges missing, the last node isolated."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(n, n, generator=g) * (torch.rand(n, n, generator=g) < 0.7)
    a.fill_diagonal_(0.0)
    a[-1] = 0.0
    return a


def edge_list(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    target, source = a.nonzero(as_tuple=True)
    return torch.stack([source, target]), a[target, source]


def test_layer_by_hand() -> None:
    torch.manual_seed(0)
    layer, a, x = SAGELayer(3, 5), graph(4), torch.randn(4, 3)
    out = layer(x.view(1, 4, 1, 3), normalise_rows(a))[0, :, 0]
    assert layer.lin_rel is not None
    for i in range(4):
        total = a[i].abs().sum()
        mean = sum(a[i, j] * x[j] for j in range(4)) / total if total > 0 else torch.zeros(3)
        want = torch.tanh(layer.lin_root.weight @ x[i] + layer.lin_root.bias + layer.lin_rel.weight @ mean)
        assert torch.allclose(out[i], want, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_dense_equals_sparse(n: int, kind: Kind) -> None:
    torch.manual_seed(0)
    encoder, a, x = MarketGraphEncoder(6, 16, 3, kind), graph(n), torch.randn(5, n, 6)
    dense = encoder(x, a)
    for b in range(5):
        sparse = encoder.forward_sparse(x[b], *edge_list(a))
        torch.testing.assert_close(dense[b], sparse, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_dense_equals_sparse_in_gradients(kind: Kind) -> None:
    torch.manual_seed(0)
    encoder, a, x = MarketGraphEncoder(6, 16, 2, kind), graph(5), torch.randn(1, 5, 6)
    grads = []
    for out in (encoder(x, a)[0], encoder.forward_sparse(x[0], *edge_list(a))):
        encoder.zero_grad()
        out.square().sum().backward()
        grads.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    assert len(grads[0]) == len(list(encoder.parameters()))
    for dense, sparse in zip(*grads, strict=True):
        torch.testing.assert_close(dense, sparse, atol=1e-4, rtol=1e-4)


def test_equals_torch_geometric_dense_layer() -> None:
    """Its clamp of row sums at 1 does nothing once rows are divided by their absolute sums, negative weights too."""
    from torch_geometric.nn import DenseSAGEConv

    torch.manual_seed(0)
    ours, a, x = SAGELayer(6, 16), graph(5), torch.randn(7, 5, 6)
    theirs = DenseSAGEConv(6, 16)
    theirs.load_state_dict(ours.state_dict())
    weights = normalise_rows(a)
    want = torch.tanh(theirs(x, weights))
    got = ours(x.transpose(0, 1).unsqueeze(0), weights)[0].transpose(0, 1)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)


def test_attention_by_hand() -> None:
    """Each edge's score and each node's softmax in loops."""
    torch.manual_seed(0)
    layer, a, x = GATLayer(3, 6, heads=2).requires_grad_(False), graph(4), torch.randn(4, 3)
    out = layer(x.view(1, 4, 1, 3), a)[0, :, 0]
    alpha = layer.attention(x.view(1, 4, 1, 3), a)[0, :, :, 0]  # (4, 4, 2)
    for i in range(4):
        heard = torch.zeros(6)
        for head in range(2):
            own = slice(3 * head, 3 * head + 3)
            scores = {
                j: float(
                    layer.att[0, head]
                    @ leaky_relu(
                        layer.lin_r(x[i]) + layer.lin_l(x[j]) + layer.lin_edge.weight[:, 0] * a[i, j], 0.2
                    )[own]
                )
                for j in range(4)
                if a[i, j] != 0
            }
            total = sum(math.exp(s) for s in scores.values())
            for j in range(4):
                want = math.exp(scores[j]) / total if j in scores else 0.0
                assert float(alpha[i, j, head]) == pytest.approx(want, abs=1e-6)
                heard[own] += want * layer.lin_l(x[j])[own]
        assert torch.allclose(out[i], torch.tanh(layer.lin_root(x[i]) + heard), atol=1e-6)


def test_attention_equals_torch_geometric() -> None:
    """Its GATv2Conv loaded with our parameters, not sharing them: names and shapes are its own."""
    from torch_geometric.nn import GATv2Conv

    torch.manual_seed(0)
    layer, a, x = GATLayer(6, 16, heads=4), graph(7), torch.randn(7, 6)
    theirs = GATv2Conv(6, 4, heads=4, edge_dim=1, add_self_loops=False, bias=False)
    theirs.lin_r = torch.nn.Linear(6, 16)  # without `bias` theirs has none here either
    theirs.load_state_dict({k: v for k, v in layer.state_dict().items() if not k.startswith("lin_root")})
    index, weight = edge_list(a)
    want, (_, alpha) = theirs(x, index, weight[:, None], return_attention_weights=True)
    got = layer(x.view(1, 7, 1, 6), a)[0, :, 0]
    torch.testing.assert_close(got, torch.tanh(want + layer.lin_root(x)), atol=1e-6, rtol=1e-5)
    ours = layer.attention(x.view(1, 7, 1, 6), a)[0, index[1], index[0], 0]
    torch.testing.assert_close(ours, alpha, atol=1e-6, rtol=1e-5)


def test_attention_hears_the_sign_of_an_edge() -> None:
    torch.manual_seed(0)
    encoder, a, x = MarketGraphEncoder(3, 8, 2, "gat", heads=2), graph(4), torch.randn(1, 4, 3)
    assert not torch.allclose(encoder(x, a), encoder(x, -a))


def test_mean_hears_everybody_alike() -> None:
    torch.manual_seed(0)
    mean, sage, x = MarketGraphEncoder(3, 8, 2, "mean"), MarketGraphEncoder(3, 8, 2), torch.randn(2, 5, 3)
    sage.load_state_dict(mean.state_dict())
    assert torch.equal(mean(x, graph(5)), mean(x, torch.zeros(5, 5)))
    torch.testing.assert_close(mean(x, graph(5)), sage(x, torch.ones(5, 5) - torch.eye(5)))
    index = torch.tensor([[0, 1], [1, 0]])  # of two graphs, 2 and 3 nodes: no edge leads out of a graph
    apart = mean.forward_sparse(x[0], index, batch=torch.tensor([0, 0, 1, 1, 1]))
    torch.testing.assert_close(apart[:2], mean(x[:1, :2], torch.zeros(2, 2))[0])
    torch.testing.assert_close(apart[2:], mean(x[:1, 2:], torch.zeros(3, 3))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_agree(kind: Kind) -> None:
    torch.manual_seed(0)
    encoder, a, x = MarketGraphEncoder(3, 8, 2, kind), graph(4), torch.randn(6, 4, 3)
    by_graph = encoder(x, a)
    node_major = encoder(x.view(2, 3, 4, 3).transpose(1, 2), a)  # two rows of three graphs
    torch.testing.assert_close(node_major.transpose(1, 2).reshape(6, 4, 8), by_graph)
    torch.testing.assert_close(encoder(x, a.expand(6, 4, 4)), by_graph)


@pytest.mark.parametrize("kind", KINDS)
def test_adjacency_per_graph(kind: Kind) -> None:
    torch.manual_seed(0)
    encoder, x = MarketGraphEncoder(3, 8, 2, kind), torch.randn(3, 4, 3)
    a = torch.stack([graph(4, seed) for seed in range(3)])
    want = torch.stack([encoder(x[i : i + 1], a[i])[0] for i in range(3)])
    torch.testing.assert_close(encoder(x, a), want)


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_nodes_permutes_embeddings_and_any_size_works(kind: Kind) -> None:
    torch.manual_seed(0)
    encoder = MarketGraphEncoder(3, 8, 2, kind)
    for n in (1, 4, 32):
        a, x, p = graph(n), torch.randn(5, n, 3), torch.randperm(n)
        torch.testing.assert_close(encoder(x[:, p], a[p][:, p]), encoder(x, a)[:, p], atol=1e-5, rtol=1e-5)


def test_weights_matter_and_mlp_hears_nobody() -> None:
    torch.manual_seed(0)
    x, a = torch.randn(1, 4, 3), graph(4)
    sage, mlp = MarketGraphEncoder(3, 8, 2), MarketGraphEncoder(3, 8, 2, "mlp")
    assert not torch.allclose(sage(x, a), sage(x, -a))
    assert not torch.allclose(sage(x, a), sage(x, (a != 0).float()))
    assert torch.equal(mlp(x, a), mlp(x, torch.zeros(4, 4)))
    torch.testing.assert_close(mlp.forward_sparse(x[0], *edge_list(a)), mlp(x, a)[0])


def test_errors() -> None:
    with pytest.raises(ValueError, match="must be one of sage, gat, mean, mlp"):
        MarketGraphEncoder(3, 8, 2, "gcn")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="heads: 3 must divide the 8 features"):
        MarketGraphEncoder(3, 8, 2, "gat", heads=3)
    with pytest.raises(ValueError, match=r"must end in \(4, 4\) for 4 nodes"):
        MarketGraphEncoder(3, 8, 2)(torch.zeros(1, 4, 3), torch.zeros(3, 3))


def test_dense_path_does_not_import_torch_geometric() -> None:
    code = "import sys, lobgraph.models.policy, lobgraph.rl.train; sys.exit('torch_geometric' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
