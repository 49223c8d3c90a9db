"""The pipeline of cautious-start.yaml, composed in Python."""

from dlmkit import Document, ModelRef, Runner
from dlmkit.combinators import Condition, WhenTransfer
from dlmkit.denoise import Denoise
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.stop import EndOfText
from dlmkit_strategies.transfer import Threshold, TopK

pipeline = Denoise(
    blocks=FixedBlocks(32),
    sample=Greedy(),
    confidence=Probability(),
    transfer=WhenTransfer(
        condition=Condition(progress=(0.0, 0.25)),
        then=TopK(1),
        otherwise=Threshold(0.9) | TopK(2),
    ),
    stop=(EndOfText(),),
)
document = Document(
    name="cautious-start",
    models={"main": ModelRef(repo="builtin/verifier")},
    gen_length=64,
    pipeline=pipeline,
)

if __name__ == "__main__":
    runner = Runner.load(document)
    decode = runner.start(runner.encode(["sort: 5 2 9 1"]))
    for record in decode:
        print(record.step, [(change.position, change.token) for change in record.changes()])
    print(decode.results()[0].text)
