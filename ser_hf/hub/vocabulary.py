"""Words that the Hub knows in a model card's metadata; it refuses a card with others, or ignores them silently.

Sources: https://huggingface.co/docs/hub/repositories-licenses for licences, the model card specification
(huggingface/hub-docs, modelcard.md) for keys, ISO 639-1 for languages.
"""

_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openrail++
osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2
llama3.3 llama4 gemma fair-noncommercial-research-license grok2-community openmdw-1.0 unknown other
"""
LICENSES = frozenset(_LICENSES.split())
# ISO 639-1; codes of three letters (ISO 639-2 and 639-3) are taken by their form.
_LANGUAGES = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj
kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv
ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti
tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
LANGUAGES = frozenset(_LANGUAGES.split())
# Beside codes of languages.
NO_LANGUAGES = ("code", "multilingual")
RELATIONS = ("adapter", "finetune", "merge", "quantized")
_KEYS = """
language language_bcp47 license license_name license_link license_details library_name tags datasets metrics
pipeline_tag base_model base_model_relation new_version model-index co2_eq_emissions thumbnail widget inference
mask_token
"""
KEYS = frozenset(_KEYS.split())
# Keys of an entry of `model-index`, and of its parts; those that must be there first.
INDEX = {
    "results": (("task", "dataset", "metrics"), ("source",)),
    "task": (("type",), ("name",)),
    "dataset": (("type", "name"), ("config", "split", "revision", "args")),
    "metrics": (("type", "value"), ("name", "config", "args", "verified", "verifyToken")),
    "source": (("url",), ("name",)),
}
