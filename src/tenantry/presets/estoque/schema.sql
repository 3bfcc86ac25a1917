-- School-food stock of many municipalities, as it stands before the migration: only schools know their tenant.

CREATE TABLE tenants (
    id    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug  text NOT NULL UNIQUE,
    name  text NOT NULL
);

CREATE TABLE produtos (
    id               serial PRIMARY KEY,
    nome             text NOT NULL UNIQUE,
    categoria        text NOT NULL,
    perecivel        boolean NOT NULL DEFAULT false,
    validade_minima  integer CHECK (validade_minima > 0),
    peso             numeric(10,3) CHECK (peso > 0),
    unidade          text NOT NULL DEFAULT 'kg'
);

CREATE TABLE escolas (
    id         serial PRIMARY KEY,
    nome       text NOT NULL UNIQUE,
    municipio  text NOT NULL,
    codigo     text,
    endereco   text,
    ativo      boolean NOT NULL DEFAULT true,
    tenant_id  uuid NOT NULL
);

CREATE TABLE usuarios (
    id         serial PRIMARY KEY,
    nome       text NOT NULL,
    email      text NOT NULL UNIQUE,
    tipo       text NOT NULL CHECK (tipo IN ('diretora', 'merendeira', 'nutricionista', 'almoxarife')),
    escola_id  integer
);

CREATE TABLE estoque_escolas (
    id                          serial PRIMARY KEY,
    escola_id                   integer NOT NULL,
    produto_id                  integer NOT NULL,
    quantidade_atual            numeric(12,3) NOT NULL DEFAULT 0,
    quantidade_minima           numeric(12,3) NOT NULL DEFAULT 0,
    quantidade_maxima           numeric(12,3),
    data_ultima_atualizacao     timestamptz NOT NULL DEFAULT now(),
    usuario_ultima_atualizacao  integer,
    ativo                       boolean NOT NULL DEFAULT true,
    UNIQUE (escola_id, produto_id),
    CHECK (quantidade_maxima >= quantidade_minima)
);

CREATE TABLE estoque_lotes (
    id                  serial PRIMARY KEY,
    produto_id          integer NOT NULL,
    lote                text NOT NULL,
    quantidade_inicial  numeric(12,3) NOT NULL CHECK (quantidade_inicial >= 0),
    quantidade_atual    numeric(12,3) NOT NULL,
    data_fabricacao     date,
    data_validade       date NOT NULL,
    status              text NOT NULL DEFAULT 'ativo' CHECK (status IN ('ativo', 'esgotado', 'vencido', 'bloqueado')),
    nota_fiscal         text,
    UNIQUE (produto_id, lote)
);

CREATE TABLE estoque_escolas_historico (
    id                      bigserial PRIMARY KEY,
    estoque_escola_id       integer NOT NULL,
    escola_id               integer NOT NULL,
    produto_id              integer NOT NULL,
    tipo_movimentacao       text NOT NULL
        CHECK (tipo_movimentacao IN ('entrada', 'devolucao', 'saida', 'perda', 'ajuste')),
    quantidade_anterior     numeric(12,3) NOT NULL,
    quantidade_movimentada  numeric(12,3) NOT NULL,
    quantidade_posterior    numeric(12,3) NOT NULL,
    motivo                  text,
    usuario_id              integer,
    data_movimentacao       timestamptz NOT NULL DEFAULT now(),
    CHECK (quantidade_movimentada > 0 OR tipo_movimentacao = 'ajuste')
);

CREATE TABLE estoque_movimentacoes (
    id                    bigserial PRIMARY KEY,
    lote_id               integer NOT NULL,
    produto_id            integer NOT NULL,
    tipo                  text NOT NULL CHECK (tipo IN ('entrada', 'devolucao', 'saida', 'perda', 'ajuste')),
    quantidade            numeric(12,3) NOT NULL,
    quantidade_anterior   numeric(12,3) NOT NULL,
    quantidade_posterior  numeric(12,3) NOT NULL,
    motivo                text,
    usuario_id            integer,
    escola_id             integer,
    data_movimentacao     timestamptz NOT NULL DEFAULT now(),
    CHECK (quantidade > 0 OR tipo = 'ajuste')
);

CREATE TABLE estoque_alertas (
    id              serial PRIMARY KEY,
    produto_id      integer NOT NULL,
    lote_id         integer,
    tipo            text NOT NULL,
    nivel           text NOT NULL DEFAULT 'info' CHECK (nivel IN ('info', 'aviso', 'critico')),
    titulo          text NOT NULL,
    data_alerta     timestamptz NOT NULL DEFAULT now(),
    resolvido       boolean NOT NULL DEFAULT false
);

-- after the rows: what is faster to build over rows that are there

ALTER TABLE escolas ADD FOREIGN KEY (tenant_id) REFERENCES tenants ON DELETE RESTRICT;
ALTER TABLE usuarios ADD FOREIGN KEY (escola_id) REFERENCES escolas ON DELETE SET NULL;
ALTER TABLE estoque_escolas
    ADD FOREIGN KEY (escola_id) REFERENCES escolas ON DELETE CASCADE,
    ADD FOREIGN KEY (produto_id) REFERENCES produtos ON DELETE RESTRICT,
    ADD FOREIGN KEY (usuario_ultima_atualizacao) REFERENCES usuarios ON DELETE SET NULL;
ALTER TABLE estoque_lotes ADD FOREIGN KEY (produto_id) REFERENCES produtos ON DELETE RESTRICT;
ALTER TABLE estoque_escolas_historico
    ADD FOREIGN KEY (estoque_escola_id) REFERENCES estoque_escolas ON DELETE CASCADE,
    ADD FOREIGN KEY (escola_id) REFERENCES escolas ON DELETE CASCADE,
    ADD FOREIGN KEY (produto_id) REFERENCES produtos,
    ADD FOREIGN KEY (usuario_id) REFERENCES usuarios ON DELETE SET NULL;
ALTER TABLE estoque_movimentacoes
    ADD FOREIGN KEY (lote_id) REFERENCES estoque_lotes ON DELETE CASCADE,
    ADD FOREIGN KEY (produto_id) REFERENCES produtos,
    ADD FOREIGN KEY (usuario_id) REFERENCES usuarios ON DELETE SET NULL,
    ADD FOREIGN KEY (escola_id) REFERENCES escolas ON DELETE SET NULL;
ALTER TABLE estoque_alertas
    ADD FOREIGN KEY (produto_id) REFERENCES produtos ON DELETE CASCADE,
    ADD FOREIGN KEY (lote_id) REFERENCES estoque_lotes ON DELETE CASCADE;

CREATE INDEX escolas_tenant_id_idx ON escolas (tenant_id);
CREATE INDEX usuarios_escola_id_idx ON usuarios (escola_id);
CREATE INDEX estoque_escolas_produto_id_idx ON estoque_escolas (produto_id);
CREATE INDEX estoque_lotes_data_validade_idx ON estoque_lotes (data_validade) WHERE status = 'ativo';
CREATE INDEX estoque_escolas_historico_estoque_escola_id_idx
    ON estoque_escolas_historico (estoque_escola_id, data_movimentacao DESC);
CREATE INDEX estoque_movimentacoes_lote_id_idx ON estoque_movimentacoes (lote_id);
CREATE INDEX estoque_movimentacoes_escola_id_idx ON estoque_movimentacoes (escola_id, data_movimentacao);
CREATE INDEX estoque_movimentacoes_data_movimentacao_idx ON estoque_movimentacoes (data_movimentacao);
CREATE INDEX estoque_alertas_lote_id_idx ON estoque_alertas (lote_id);
CREATE INDEX estoque_alertas_abertos_idx ON estoque_alertas (nivel, data_alerta) WHERE NOT resolvido;

CREATE FUNCTION marca_ultima_atualizacao() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.data_ultima_atualizacao := now();
    RETURN NEW;
END
$$;

CREATE TRIGGER estoque_escolas_ultima_atualizacao BEFORE UPDATE ON estoque_escolas
    FOR EACH ROW EXECUTE FUNCTION marca_ultima_atualizacao();

CREATE VIEW vw_estoque_disponivel AS
SELECT e.id AS escola_id, e.nome AS escola, e.municipio, p.id AS produto_id, p.nome AS produto, p.unidade,
       ee.quantidade_atual, ee.quantidade_minima, ee.quantidade_atual < ee.quantidade_minima AS abaixo_do_minimo
FROM estoque_escolas ee
JOIN escolas e ON e.id = ee.escola_id
JOIN produtos p ON p.id = ee.produto_id
WHERE ee.ativo AND e.ativo;

CREATE VIEW vw_lotes_vencendo AS
SELECT l.id, l.lote, p.nome AS produto, l.quantidade_atual, l.data_validade, l.data_validade - CURRENT_DATE AS dias
FROM estoque_lotes l
JOIN produtos p ON p.id = l.produto_id
WHERE l.status = 'ativo' AND l.quantidade_atual > 0 AND l.data_validade <= CURRENT_DATE + 30;

COMMENT ON TABLE produtos IS 'Catálogo único de produtos, comum a todos os municípios';
COMMENT ON TABLE estoque_lotes IS 'Lotes recebidos; a escola só aparece nas movimentações';
COMMENT ON COLUMN estoque_movimentacoes.escola_id IS 'Vazio quando o almoxarifado central movimenta o lote';
COMMENT ON COLUMN estoque_movimentacoes.quantidade IS 'Sempre positiva; só um ajuste traz o próprio sinal';
COMMENT ON COLUMN estoque_alertas.lote_id IS 'Vazio nos avisos sobre o produto do catálogo';
COMMENT ON VIEW vw_estoque_disponivel IS 'Estoque disponível por escola';
