"""Reads the names of a model's labels: abbreviations, capitals, other languages, pairs of names.

A name is read only if it can mean one emotion only. Names of a corpus's labels are not read here
(`schema.SYNONYMS` has the names that both share).
"""

import re
import unicodedata
from collections.abc import Sequence

from .schema import EMOTIONS, SYNONYMS

# The sex of the speaker before the emotion, as in female_happy.
_SEX = re.compile(r"^(female|male)[\s_-]+")
# Two names of one emotion, as emotion2vec has them: 生气/angry.
_SEPARATOR = re.compile(r"[/|,()]+")

# Letters of IEMOCAP and MSP-Podcast. They are read only if all labels of a model are among them,
# because EMO-DB has other meanings for some of these letters (A is fear there), and letters that
# are not here.
_LETTERS = {
    "a": "angry",
    "c": "contempt",
    "d": "disgust",
    "f": "fear",
    "h": "happy",
    "n": "neutral",
    "o": "other",
    "s": "sad",
    "u": "surprise",
}

# Emotion -> words of other languages and further English words. Languages in the order German,
# French, Spanish, Italian, Portuguese, Russian, Chinese, Japanese, Korean.
_WORDS = {
    "angry": (
        "rage mad wut ärger wütend zorn colère enojo enfado enojado ira rabbia "
        "raiva злость гнев 生气 愤怒 怒り 분노 화남"
    ),
    "disgust": (
        "disgusting disgustful ekel dégoût asco disgusto nojo aversão отвращение 厌恶 嫌悪 혐오"
    ),
    "fear": (
        "afraid scared angst furcht peur miedo temor paura medo страх "
        "恐惧 害怕 恐れ 恐怖 공포 두려움"
    ),
    "happy": (
        "joyful freude glücklich joie heureux alegría felicidad feliz gioia "
        "felicità alegria felicidade радость счастье 开心 高兴 快乐 喜び 행복 기쁨"
    ),
    "neutral": (
        "neutrality neutre neutro neutrale neutralità нейтрально нейтральный 中立 中性 중립"
    ),
    "sad": (
        "sorrow trauer traurig tristesse triste tristeza tristezza грусть печаль 难过 悲伤 "
        "伤心 悲しみ 슬픔"
    ),
    "surprise": (
        "suprise pleasant_surprise pleasant_surprised ps überraschung sorpresa surpresa "
        "удивление 惊讶 吃惊 驚き 놀람"
    ),
    "calm": "ruhig calme calma спокойствие",
    "boredom": "boring langeweile gelangweilt ennui aburrimiento noia tédio скука",
    "frustrated": "frustración frustrazione frustração",
    "contempt": "disdain verachtung mépris desprecio disprezzo desprezo презрение",
    "other": "others 其他",
}


def _comparable(word: str) -> str:
    """A word in lower case, without accents and with one kind of space."""
    decomposed = unicodedata.normalize("NFKD", word.strip().casefold())
    # й and ё are letters of their own, but lose their marks on both sides of the comparison.
    plain = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return re.sub(r"[\s-]+", "_", plain)


def _table() -> dict[str, str]:
    """Comparable word -> emotion."""
    table = {emotion: emotion for emotion in EMOTIONS}
    for word, emotion in SYNONYMS.items():
        table[_comparable(word)] = emotion
    for emotion, words in _WORDS.items():
        for word in words.split():
            table[_comparable(word)] = emotion
    return table


_EMOTION_OF_WORD = _table()


def emotions_of_labels(labels: Sequence[str]) -> list[str | None]:
    """The canonical emotion of each label of a model; None for a label that is not known."""
    letters = [_LETTERS.get(label.strip().lower()) for label in labels]
    if len(labels) > 1 and all(letters):
        return letters
    return [_emotion_of(label) for label in labels]


def _emotion_of(label: str) -> str | None:
    """The emotion of a label; of several names in one label, all known names must agree."""
    without_sex = _SEX.sub("", label.strip().casefold())
    whole = _EMOTION_OF_WORD.get(_comparable(without_sex))
    if whole is not None:
        return whole
    emotions = set()
    for name in _SEPARATOR.split(without_sex):
        emotion = _EMOTION_OF_WORD.get(_comparable(name))
        if emotion is not None:
            emotions.add(emotion)
    return emotions.pop() if len(emotions) == 1 else None
