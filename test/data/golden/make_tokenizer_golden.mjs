// Writes tokenizer.json: what the `tokenizers` library (npm package of that name, 0.23.2) makes of hard texts
// with BERT's normalizer, pre-tokenizer and word pieces, uncased and cased.
// usage: npm install tokenizers@0.23.2 && node make_tokenizer_golden.mjs OUTPUT
import { createRequire } from 'module'
import { writeFileSync } from 'fs'
const require = createRequire(process.cwd() + '/')
const { Tokenizer, WordPiece, bertNormalizer, bertPreTokenizer } = require('tokenizers')

const texts = [
  '', ' ', '\t\n\r  ', 'hello', 'Hello, World!', 'unaffable', 'UNwanted\u00E9,running',
  "it 's a charming and often affecting journey . ", "don't stop-me (now) $5.00 a_b a^b ~x~ `y` a=b a+b <c> a|b",
  'Café naïve Ångström ÀÉÎÕÜ façade Zürich', 'e\u0301 A\u030A o\u0308\u0323 n\u0303', 'İstanbul IŞIK ıi',
  'straße GROẞE ﬁnance ŉ ǆ', 'Привет, МИР! Ёлка йод', 'ΑΒΓΔ άέή καλημέρα', 'العربية مُحَمَّد', 'हिन्दी क्षत्रिय',
  '한국어 조선말', 'ひらがな カタカナ ガギグ', '漢字kana交じり文', '我爱北京天安门', '﨑塚 豈更 𠀀𪛖 㐀䶵',
  '😀 smile 👩‍👩‍👧 🇩🇪 ❤️', 'x👍🏽y', 'a\u0000b\u0001c\u0007d\uFFFDe', 'zero\u200Bwidth soft\u00ADhyphen bom\uFEFFmark',
  'nb\u00A0space thin\u2009space ideo\u3000space line\u2028sep para\u2029sep next\u0085line', 'a\u000Bb\u000Cc',
  '“quotes” ‘single’ «guillemets» „low‟', 'en–dash em—dash hy‐phen …dots', '¿qué? ¡sí! § ¶ · ¢ £ € ¥ © ® ™ ° ± × ÷',
  '１２３ ＡＢＣ ，。！？', '½ ² ³ ₂ Ⅷ ①', 'x'.repeat(100), 'x'.repeat(101), 'é'.repeat(100) + ' ' + 'é'.repeat(101),
  'a'.repeat(99) + '.' + 'b'.repeat(101) + ' c', 'http://www.example.com/~user?q=1&r=%20#top', 'C:\\new\\dir', 'foo@bar.com',
  '[CLS x] ##a # a## [[unk]]', 'aaaa aaab baaa', 'private\uE000use', 'Ǆ Ǉ ᾳ ᾼ ΐ', 'q̇̌ ą́ ê̄', 'ไทย ภาษา', '\u0301alone \u0301',
]

const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'hello', 'world', 'un', '##aff', '##able', '##want', '##ed', 'run',
  '##ning', 'runn', 'want', 'charm', '##ing', 'aa', '##aa', 'aaa', 'caf', '##é', 'nai', '##ve', '##e', 'журнал', 'при', '##вет', 'мир',
  'Hello', 'World', 'UN', '##s', "'", ',', '.', '!', 'stop', 'me', 'now', '5', '00', '$', '我', '爱', '北', '京', '漢', '##字', 'x', '##x', '##xx']
const seen = new Set(vocabulary)
for (const c of 'abcdefghijklmnopqrstuvwxyzABC0123456789é-_()[]#/:?=&%~@\\привел한국어한ひらがなαβγ') {
  for (const token of [c, '##' + c]) {
    if (!seen.has(token)) vocabulary.push(token)
    seen.add(token)
  }
}

const cases = []
for (const lowerCase of [true, false]) {
  const normalizer = bertNormalizer({ cleanText: true, handleChineseChars: true, stripAccents: lowerCase, lowercase: lowerCase })
  const tokenizer = new Tokenizer(WordPiece.init(Object.fromEntries(vocabulary.map((t, i) => [t, i])),
    { unkToken: '[UNK]', maxInputCharsPerWord: 100, continuingSubwordPrefix: '##' }))
  tokenizer.setNormalizer(normalizer)
  tokenizer.setPreTokenizer(bertPreTokenizer())
  for (const text of texts) {
    const words = bertPreTokenizer().preTokenizeString(normalizer.normalizeString(text)).map(([word]) => word)
    const ids = (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds()
    cases.push({ text, lower_case: lowerCase, words, ids })
  }
}
writeFileSync(process.argv[2], JSON.stringify({ vocabulary, cases }, null, 1) + '\n')
