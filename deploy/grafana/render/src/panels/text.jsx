import { renderTextPanelMarkdown } from '@grafana/data';

export function Panel({ panel, substituteText }) {
  const { content, mode } = panel.options;
  const text = substituteText(content);
  const html = mode === 'html' ? text : renderTextPanelMarkdown(text);
  return <div className="markdown-html" style={{ height: '100%', overflow: 'hidden' }} dangerouslySetInnerHTML={{ __html: html }} />;
}
