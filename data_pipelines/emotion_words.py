"""Other words for the common emotions, in many languages, which lists of the user's own may have.

Only words that are unambiguous are here. Left out are, for example, `disgusto` (disgust in Italian,
annoyance in Spanish), and the Chinese word for calm, which some corpora use for neutral speech.
"""

import unicodedata

# Separated by commas; a line for English and codes, the others by script or group of languages.
WORDS = {
    'angry': """
        ang, anger, angered, angrily, furious, fury, rage, mad,
        wut, wütend, wuetend, ärger, aerger, ärgerlich, aergerlich, zorn, zornig, boos, boosheid,
        woede, arg, ilska, vred, vrede, sinne, sint,
        colère, en colère, fâché, ira, enfado, enfadado, enojo, enojado, rabia, rabbia, arrabbiato,
        collera, raiva, zangado, furie, öfke, öfkeli, kızgın, kızgınlık, marah, harag, düh,
        gniew, złość, hněv, гнев, злость, злой, θυμός, οργή,
        愤怒, 憤怒, 生气, 生氣, 怒り, 怒, 분노, 화남,
        خشم, عصبانی, عصبانیت, غصہ, غضب, غاضب, ቁጣ, गुस्सा, क्रोध
    """,
    'anxious': 'anx, anxiety, anxiousness',
    'bored': """
        bor, boredom, langeweile, gelangweilt, ennui, aburrimiento, aburrido, noia, annoiato, tédio,
        verveling, nuda, скука, 无聊, 退屈
    """,
    'calm': """
        calmness, calmly, ruhe, ruhig, gelassen, kalm, calme, calma, tranquilo, tranquila, sakin,
        spokój, spokojny, спокойствие, спокойный, ηρεμία, آرامش, هدوء
    """,
    'contempt': 'contemptuous, verachtung, mépris, desprecio, disprezzo, desprezo, презрение, 轻蔑',
    'disgust': """
        dis, disgusted, ekel, angeekelt, walging, äckel, avsky, afsky, dégoût, dégoûté, asco, nojo,
        iğrenme, tiksinti, wstręt, obrzydzenie, znechucení, dezgust, jijik, отвращение, αηδία,
        厌恶, 厭惡, 嫌悪, 혐오, انزجار, اشمئزاز, घृणा
    """,
    'excited': 'exc, excitement',
    'fear': """
        fea, fearful, afraid, scared, frightened, terror,
        angst, ängstlich, aengstlich, furcht, rädsla, rädd, frykt, peur, apeuré, miedo, paura, medo,
        korku, frică, takut, félelem, strach, страх, φόβος,
        害怕, 恐惧, 恐懼, 恐怖, 恐れ, 공포, 두려움, ترس, خوف, ፍርሃት, डर, भय
    """,
    'frustrated': 'fru, frustration',
    'happy': """
        hap, happiness, happily, joy, joyful, cheerful,
        freude, fröhlich, froehlich, glücklich, gluecklich, blij, blijdschap, glad, glädje, glæde,
        glede, joie, joyeux, heureux, heureuse, alegría, alegre, feliz, felicidad, felicidade,
        alegria, gioia, felice, felicità, mutlu, mutluluk, sevinç, bucurie, fericire, bahagia,
        senang, gembira, öröm, radość, radosny, szczęście, radost, радость, счастье, веселье,
        χαρά, ευτυχία,
        高兴, 高興, 开心, 開心, 快乐, 快樂, 喜び, 嬉しい, 기쁨, 행복,
        شادی, شاد, خوشحال, خوشحالی, خوشی, فرح, سعيد, سعادة, ደስታ, खुशी, ख़ुशी, खुश
    """,
    'neutral': """
        neu, ntr, neutrality, neutralität, neutre, neutralité, neutro, neutra, neutrale, neutralità,
        neutraal, nötr, netral, neutru, neutralny, neutralne, neutralność, neutrální,
        нейтральный, нейтральная, нейтральное, нейтрально, нейтральность, ουδέτερο, ουδέτερη,
        ουδέτερος, 中性, 中立, ニュートラル, 중립, خنثی, محايد, ገለልተኛ, तटस्थ
    """,
    'sad': """
        sadness, sadly, sorrow, sorrowful,
        trauer, traurig, traurigkeit, verdrietig, verdriet, ledsen, sorg, tristesse, triste,
        tristeza, tristezza, üzgün, üzüntü, tristețe, sedih, szomorúság, smutek, smutny, smutno,
        грусть, печаль, грустный, λύπη, θλίψη,
        悲伤, 悲傷, 伤心, 傷心, 难过, 難過, 悲しみ, 悲しい, 슬픔,
        غم, غمگین, اندوه, اداسی, اداس, حزن, حزين, ሀዘን, ሐዘን, दुख, दुखी, उदास, उदासी
    """,
    'surprise': """
        sur, surprised, ps, pleasant surprise, pleasant_surprise, astonishment, astonished,
        überraschung, ueberraschung, überrascht, ueberrascht, verrassing, verrast, förvåning,
        överraskning, overraskelse, surpris, sorpresa, sorprendido, sorpreso, surpresa,
        şaşkın, şaşkınlık, surpriză, terkejut, zaskoczenie, zdziwienie, překvapení, удивление,
        έκπληξη, 惊讶, 驚訝, 惊奇, 驚奇, 驚き, 놀람, تعجب, حیرت, دهشة, مفاجأة, आश्चर्य
    """,
    'other': 'oth',
    'undecided': 'xxx',
}

# Letters that have no decomposition into a letter and a mark.
PLAIN_LETTERS = str.maketrans({'ı': 'i', 'ł': 'l', 'ø': 'o', 'æ': 'ae', '_': ' ', '-': ' '})
MARKS = range(0x300, 0x370)  # accents of Latin, Greek and Cyrillic letters


def fold_accents(word: str) -> str:
    """Returns a word in lower case without accents, and with blanks for _ and -."""
    text = unicodedata.normalize('NFKC', word).casefold()
    text = unicodedata.normalize('NFD', text)
    text = ''.join([letter for letter in text if ord(letter) not in MARKS])
    return ' '.join(unicodedata.normalize('NFC', text).translate(PLAIN_LETTERS).split())


def _index_words() -> dict[str, str]:
    """Returns the emotion of each word, whose accents are removed."""
    emotion_by_word = {}
    for emotion, words in WORDS.items():
        for word in words.split(','):
            emotion_by_word[fold_accents(word)] = emotion
    return emotion_by_word


EMOTION_BY_WORD = _index_words()


def find_emotion(word: str) -> str | None:
    """Returns the emotion that a word of some language means, or None if it is not known."""
    return EMOTION_BY_WORD.get(fold_accents(word))
