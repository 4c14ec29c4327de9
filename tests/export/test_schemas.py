"""What a manifest says about decoding in pieces is true of the network."""

from __future__ import annotations

import torch

from soundstorm_edge.codec.spectral_codec import SpectralCodec, SpectralCodecConfig
from soundstorm_export.schemas import receptive_field


def test_the_receptive_field_of_the_spectral_decoder_is_exact():
    torch.manual_seed(0)
    config = SpectralCodecConfig(
        dim=16, encoder_blocks=1, decoder_blocks=2, latent_dim=8, levels=2, codebook_size=16, mels=20
    )
    codec = SpectralCodec(config).eval()
    codec.reconstruct(torch.randn(2, 64 * config.hop))  # starts the codebooks
    context, lookahead = receptive_field(codec)
    assert (context, lookahead) == (10, 2)
    middle = 20
    codes = torch.randint(16, (1, 41, 2))

    def changed(frame):
        other = codes.clone()
        other[0, frame] = (other[0, frame] + 1) % 16
        with torch.no_grad():
            return bool((codec.spectrum(other) - codec.spectrum(codes))[0, middle].abs().max() > 0)

    seen = [frame for frame in range(41) if changed(frame)]
    assert seen == list(range(middle - context, middle + lookahead + 1))
