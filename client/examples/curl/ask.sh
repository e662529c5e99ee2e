#!/bin/sh
# Ask an Organ-Seg server over HTTP: verdict and organ of each answer, by curl and jq.
#
#   ask.sh IMAGE QUESTION [URL]
#
# The image's bytes travel as they are, by Triton's binary tensor extension: a JSON header, then the
# tensor's bytes; one element of BYTES is its length in 4 bytes, little-endian, and then itself.
set -eu

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: $0 IMAGE QUESTION [URL], for example $0 slice.png 'Where is the liver?'" >&2
    exit 2
fi
image=$1
question=$2
url=${3:-http://localhost:8000}
for tool in curl jq; do
    command -v "$tool" >/dev/null || { echo "wanted $tool, found none: install it" >&2; exit 2; }
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Four bytes of a number, lowest first; printf takes octal escapes in every shell.
little_endian() {
    number=$1
    for _ in 1 2 3 4; do
        # shellcheck disable=SC2059  # the escape is the format
        printf "\\$(printf '%03o' $((number % 256)))"
        number=$((number / 256))
    done
}

size=$(wc -c <"$image")
jq -cjn --arg question "$question" --argjson size $((size + 4)) '{
    inputs: [
        {name: "IMAGE", datatype: "BYTES", shape: [1, 1], parameters: {binary_data_size: $size}},
        {name: "QUERY", datatype: "BYTES", shape: [1, 1], data: [$question]}
    ],
    outputs: [{name: "ORGANS"}, {name: "VERDICTS"}, {name: "BOXES"}],
    parameters: {timeout: 30000000}
}' >"$folder/header"
{
    cat "$folder/header"
    little_endian "$size"
    cat "$image"
} >"$folder/body"

status=$(curl --silent --show-error --max-time 30 --output "$folder/answer" \
    --write-out '%{http_code}' \
    --header "Inference-Header-Content-Length: $(wc -c <"$folder/header" | tr -d ' ')" \
    --header 'Content-Type: application/octet-stream' \
    --data-binary "@$folder/body" "$url/v2/models/organ_seg/infer")
if [ "$status" != 200 ]; then
    echo "HTTP $status: $(jq -r '.error? // "no words"' "$folder/answer")" >&2
    exit 1
fi

# Outputs come in any order: each is looked up by its name.
jq -r '
    ["liver", "right kidney", "spleen", "pancreas", "aorta", "inferior vena cava",
     "right adrenal gland", "left adrenal gland", "gallbladder", "esophagus", "stomach",
     "duodenum", "left kidney", "none"] as $names
    | (.outputs | map({(.name): .data}) | add) as $answer
    | range($answer.ORGANS | length) as $entry
    | [$answer.VERDICTS[$entry], $names[$answer.ORGANS[$entry] - 1],
       ($answer.BOXES[4 * $entry:4 * $entry + 4] | map(. * 10 | round / 10 | tostring) | join(" "))]
    | @tsv' "$folder/answer"
