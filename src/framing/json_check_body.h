/* Template: the body of json_check for one level; the includer defines
     JSON_CHECK             the head of the function (p, n)
     JSON_SKIP_STRING(p)    see json_skip_string_scalar
   Spaces are tested for last everywhere: most lines have none, or one at known places. */
JSON_CHECK {
    const uint8_t *const end = p + n;
    uint8_t outer[JSON_MAX_DEPTH]; /* the closers of the levels around this one */
    uint8_t closer = '\n';         /* what ends this level: a bracket, or the line */
    unsigned depth = 0;
    int verdict = JSON_VALID;
    if (*end != '\n')
        return JSON_INVALID;

value:
    switch (*p) {
    case ' ':
    case '\t':
    case '\r':
        p++;
        goto value;
    case '"':
        p = JSON_SKIP_STRING(p + 1);
        if (!p)
            return JSON_INVALID;
        goto after_value;
    case '{':
        if (depth == JSON_MAX_DEPTH)
            return JSON_INVALID;
        outer[depth++] = closer;
        closer = '}';
        do
            p++;
        while (json_is_space(*p));
        if (*p == '}')
            goto after_value;
        goto key;
    case '[':
        if (depth == JSON_MAX_DEPTH)
            return JSON_INVALID;
        outer[depth++] = closer;
        closer = ']';
        do
            p++;
        while (json_is_space(*p));
        if (*p == ']')
            goto after_value;
        goto value;
    case 't':
        if (memcmp(p, "true", 4) != 0)
            return JSON_INVALID;
        p += 4;
        goto after_value;
    case 'f':
        if (memcmp(p, "false", 5) != 0)
            return JSON_INVALID;
        p += 5;
        goto after_value;
    case 'n':
        if (memcmp(p, "null", 4) != 0)
            return JSON_INVALID;
        p += 4;
        if (depth == 0)
            verdict = JSON_NULL;
        goto after_value;
    case '-':
        p++;
        if (!json_is_digit(*p))
            return JSON_INVALID;
        /* fall through */
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': {
        const uint8_t *digits = p;
        if (*p == '0')
            p++;
        else
            while (json_is_digit(*p))
                p++;
        int64_t magnitude = p - digits; /* the value is below 10^magnitude */
        if (*p == '.') {
            p++;
            if (!json_is_digit(*p))
                return JSON_INVALID;
            while (json_is_digit(*p))
                p++;
        }
        if ((*p | 0x20) == 'e') {
            int64_t exponent = 0;
            bool negative = *++p == '-';
            if (negative || *p == '+')
                p++;
            if (!json_is_digit(*p))
                return JSON_INVALID;
            for (; json_is_digit(*p); p++)
                if (exponent <= JSON_SAFE_EXPONENT)
                    exponent = 10 * exponent + (*p - '0');
            magnitude += negative ? 0 : exponent;
        }
        if (FRAMING_UNLIKELY(magnitude > JSON_SAFE_EXPONENT) && json_overflows(digits))
            return JSON_INVALID;
        goto after_value;
    }
    default:
        return JSON_INVALID;
    }

key:
    if (*p != '"')
        return JSON_INVALID;
    p = JSON_SKIP_STRING(p + 1);
    if (!p)
        return JSON_INVALID;
    while (*p != ':') {
        if (!json_is_space(*p))
            return JSON_INVALID;
        p++;
    }
    p++;
    goto value;

after_value: /* or, in an empty list or object, at its closer */
    if (*p == ',') {
        p++;
        if (closer == ']')
            goto value;
        if (closer == '\n')
            return JSON_INVALID;
        while (json_is_space(*p))
            p++;
        goto key;
    }
    if (*p == closer) {
        if (depth == 0)
            return p == end ? verdict : JSON_INVALID;
        p++;
        closer = outer[--depth];
        goto after_value;
    }
    if (!json_is_space(*p))
        return JSON_INVALID;
    p++;
    goto after_value;
}
#undef JSON_CHECK
#undef JSON_SKIP_STRING
