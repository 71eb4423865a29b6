
'use strict';
// Fills each model's card with the sample in the model's own description, and
// sends what is in it. Everything from outside is set as text.
(function () {
  function findExample(doc) {
    var input = doc.definitions && doc.definitions.ServiceInput;
    if (input && input.example !== undefined) return input.example;
    for (var path of Object.values(doc.paths || {})) {
      var post = path.post;
      if (!post) continue;
      var content = post.requestBody && post.requestBody.content && post.requestBody.content['application/json'];
      var body = content || (post.parameters || []).find(function (p) { return p.in === 'body'; });
      var found = body && fromSchema(doc, body);
      if (found !== undefined && found !== null) return found;
    }
    return undefined;
  }

  function fromSchema(doc, body) {
    if (body.example !== undefined) return body.example;
    var schema = body.schema || {};
    if (schema.$ref) {
      schema = schema.$ref.replace(/^#\//, '').split('/').reduce(function (at, key) { return at && at[key]; }, doc) || {};
    }
    return schema.example;
  }

  function show(state, text, kind) {
    state.textContent = text;
    state.className = 'state ' + (kind || '');
  }

  function pretty(text) {
    try { return JSON.stringify(JSON.parse(text), null, 2); } catch (e) { return text; }
  }

  async function fill(card, input, state) {
    try {
      var res = await fetch(card.dataset.path + '/swagger.json', { headers: { Accept: 'application/json' } });
      if (!res.ok) throw new Error('status ' + res.status);
      var example = findExample(await res.json());
      if (example === undefined) throw new Error('it has no example');
      if (input.value === '') input.value = JSON.stringify(example);
      show(state, '');
    } catch (e) {
      if (input.value === '') input.value = '{"data": [[]]}';
      show(state, 'No sample: ' + e.message + '.');
    }
  }

  async function send(card, input, button, state, answer) {
    if (button.getAttribute('aria-disabled') === 'true') return; // it keeps the focus, as a disabled one would not
    button.setAttribute('aria-disabled', 'true');
    answer.parentElement.hidden = true;
    show(state, 'Waiting for the model…');
    var begun = performance.now();
    try {
      var res = await fetch(card.dataset.path + '/score', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
        body: input.value
      });
      var text = await res.text();
      if (res.status === 401) return signInAgain(state);
      answer.textContent = pretty(text);
      answer.parentElement.hidden = false;
      answer.dataset.status = String(res.status);
      show(state, (res.status + ' ' + res.statusText).trim() + ' in ' + Math.round(performance.now() - begun) + ' ms', res.ok ? 'good' : 'bad');
    } catch (e) {
      answer.dataset.status = '0';
      show(state, 'The proxy cannot be reached.', 'bad');
    } finally {
      button.removeAttribute('aria-disabled');
    }
  }

  // In a window of its own, so that what was typed stays.
  function signInAgain(state) {
    show(state, 'Your session has ended.', 'bad');
    var link = document.createElement('a');
    link.href = '/oauth2/start?rd=%2F';
    link.target = '_blank';
    link.textContent = 'Sign in again';
    state.append(' ', link);
  }

  document.querySelectorAll('.model').forEach(function (card) {
    var input = card.querySelector('.input');
    var button = card.querySelector('.send');
    var state = card.querySelector('.state');
    var answer = card.querySelector('.answer');
    button.disabled = false;
    button.addEventListener('click', function () { send(card, input, button, state, answer); });
    input.addEventListener('keydown', function (e) {
      if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) button.click();
    });
    show(state, 'Fetching a sample…');
    fill(card, input, state);
  });
})();
